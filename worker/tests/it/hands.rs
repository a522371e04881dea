//! Tools that write, called as a turn calls them: by an attempt that holds the turn, by one that
//! takes it over, and by one that was taken over and comes back.

use std::sync::Arc;

use copilot_shared::id::{MessageId, SessionId, ToolCallId, TurnId, UserId, WorkerId};
use copilot_shared::message::{Part, Speaker, ToolOutcome};
use copilot_shared::session::Caller;
use copilot_shared::store::{Claim, NewTurn, OnBusy, Store};
use copilot_shared::testing::{Reply, Services, Witness};
use copilot_shared::turn::Attempt;
use copilot_worker::docs::Docs;
use copilot_worker::linear::{Linear, LinearSettings};
use copilot_worker::outbound::Outbound;
use copilot_worker::sandbox::Sandbox;
use copilot_worker::tools::{Outlet, Resources, ToolContext, Toolbox};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A running turn of a user's.
struct Running {
    services: Services,
    store: Store,
    turn: TurnId,
    session: SessionId,
    owner: Caller,
    toolbox: Toolbox,
    resources: Resources,
}

impl Running {
    async fn of(owner: Caller) -> Self {
        crate::provider::tls();
        let services = Services::isolated().await;
        let store = services.store();
        let session = store.create_session(SessionId::random(), &owner).await.unwrap().id;
        let new = NewTurn {
            id: TurnId::generate(),
            message_id: MessageId::generate(),
            ui_id: None,
            speaker: Speaker::User,
            parts: vec![Part::Text { id: None, text: "hello".into() }],
            on_busy: OnBusy::Enqueue,
            idempotency: None,
        };
        let turn = new.id;
        store.submit(session, &owner, &new).await.unwrap();
        let resources = Resources {
            store: store.clone(),
            workspaces: services.workspaces(1 << 20),
            outbound: Outbound::new("".parse().unwrap()).unwrap(),
            sandbox: Arc::new(Sandbox::new(&std::env::temp_dir(), 1 << 20).unwrap()),
            cloud: None,
            secrets_key: None,
            docs: Arc::new(Docs::open(None, None).unwrap()),
            linear: None,
        };
        let toolbox = Toolbox::built_in().unwrap();
        let running = Self { services, store, turn, session, owner, toolbox, resources };
        running.claim().await;
        running
    }

    async fn of_user(name: &str) -> Self {
        Self::of(Caller::User(UserId::parse(name).unwrap())).await
    }

    async fn claim(&self) {
        let claim = self.store.claim(self.turn, WorkerId::generate(), false).await.unwrap();
        assert!(matches!(claim, Claim::Claimed(_)), "{claim:?}");
    }

    /// Another worker takes the turn.
    async fn take_over(&self) {
        self.services.sql("UPDATE turns SET lease_until = now() - interval '1 second'").await;
        self.claim().await;
    }

    fn context(&self, attempt: i32, call: &str) -> ToolContext {
        ToolContext {
            turn_id: self.turn,
            attempt: Attempt(attempt),
            session_id: self.session,
            user_id: match &self.owner {
                Caller::User(user) => Some(user.clone()),
                _ => None,
            },
            call_id: ToolCallId(call.into()),
            stop: CancellationToken::new(),
            resources: self.resources.clone(),
            outlet: Outlet::channel().0,
        }
    }

    /// What a call of an attempt answers; the failures are errors.
    async fn call(&self, attempt: i32, call: &str, tool: &str, input: Value) -> Result<Value, Value> {
        let context = self.context(attempt, call);
        let end = self.toolbox.call(tool, context.clone(), input).await;
        match end.outcome(&context).await {
            ToolOutcome::Output(Value::String(text)) => Ok(serde_json::from_str(&text).unwrap()),
            ToolOutcome::Output(other) => panic!("{other}"),
            ToolOutcome::Error(text) => Err(serde_json::from_str(&text).unwrap()),
        }
    }

    /// The first attempt's answer to a call of its own.
    async fn ask(&self, tool: &str, input: Value) -> Value {
        self.call(1, ToolCallId::generate().as_str(), tool, input).await.unwrap()
    }

    /// Makes a call, takes the turn over and makes it again, and lets the first attempt come back:
    /// the first two are one, the last one fails. Returns what the tool answered.
    async fn over_a_takeover(&self, tool: &str, input: Value) -> Value {
        let first = self.call(1, "call_1", tool, input.clone()).await.unwrap();
        self.take_over().await;
        let again = self.call(2, "call_1", tool, input.clone()).await.unwrap();
        assert_eq!(first, again, "{tool}");
        let late = self.call(1, "call_2", tool, input).await.unwrap_err();
        assert_eq!(late["error"], "the attempt was fenced off", "{tool}");
        first
    }
}

#[tokio::test]
async fn a_folder_is_made_once_over_a_takeover() {
    let ann = Running::of_user("ann").await;
    let made = ann.over_a_takeover("create_folder", json!({"name": " Work ", "icon": "📁"})).await;
    assert_eq!((&made["type"], &made["folder"]["name"]), (&json!("folder_created"), &json!("Work")));
    assert_eq!(ann.services.count("SELECT count(*) FROM folders").await, 1);
}

#[tokio::test]
async fn a_worker_that_was_taken_over_changes_no_file() {
    let ann = Running::of_user("ann").await;
    let write = |text: &str| json!({"filename": "a.txt", "content": text, "overwrite": true});
    ann.call(1, "call_1", "write_workspace_file", write("first")).await.unwrap();
    ann.take_over().await;
    let written = ann.call(2, "call_1", "write_workspace_file", write("second")).await.unwrap();
    for (tool, input) in
        [("write_workspace_file", write("late")), ("delete_workspace_file", json!({"file_id": written["file_id"]}))]
    {
        let late = ann.call(1, "call_2", tool, input).await.unwrap_err();
        assert_eq!(late["error"], "the attempt was fenced off", "{tool}");
    }
    let read = ann.call(2, "call_3", "read_workspace_file", json!({"path": "a.txt"})).await.unwrap();
    assert_eq!((&read["file_id"], &read["content_base64"]), (&written["file_id"], &json!("c2Vjb25k")));
}

#[tokio::test]
async fn a_wish_is_kept_once_over_a_takeover_and_found_by_others() {
    let ann = Running::of_user("ann").await;
    let wish = json!({"title": "Export chats as PDF", "description": "I need to print conversations."});
    let made = ann.over_a_takeover("create_feature_request", wish).await;
    assert_eq!((&made["type"], &made["is_new_issue"]), (&json!("feature_request_created"), &json!(true)));
    assert_eq!((&made["issue_identifier"], &made["customer_name"]), (&json!("FR-1"), &json!("ann")));
    let counted = "SELECT (SELECT count(*) FROM feature_requests) * 10 + count(*) FROM feature_request_needs";
    assert_eq!(ann.services.count(counted).await, 11);

    let search = |query: &str| ann.call(2, "call_s", "search_feature_requests", json!({"query": query}));
    let found = search("print my conversation please").await.unwrap();
    assert_eq!(
        found["results"],
        json!([{"id": made["issue_id"], "identifier": "FR-1", "title": "Export chats as PDF"}])
    );
    assert_eq!(search("dark mode").await.unwrap()["type"], "no_results");
    assert_eq!(search("???").await.unwrap()["type"], "no_results");
    assert_eq!(search(" ").await.unwrap()["error"], "missing_query");

    let voice = json!({"title": "t", "description": "Me too.", "existing_issue_id": made["issue_id"]});
    let added = ann.call(2, "call_v", "create_feature_request", voice).await.unwrap();
    assert_eq!((&added["issue_id"], &added["is_new_issue"]), (&made["issue_id"], &json!(false)));
    assert_eq!(ann.services.count(counted).await, 12);
    for unknown in ["nope", &TurnId::generate().to_string()] {
        let voice = json!({"title": "t", "description": "d", "existing_issue_id": unknown});
        assert_eq!(ann.call(2, "call_u", "create_feature_request", voice).await.unwrap()["error"], "not_found");
    }
    assert_eq!(ann.services.count(counted).await, 12);
}

#[tokio::test]
async fn what_is_learned_and_planned_is_that_of_the_newest_attempt() {
    let ann = Running::of_user("ann").await;
    let todos =
        json!({"todos": [{"content": "one", "status": "in_progress"}, {"content": "two", "status": "completed"}]});
    let written = ann.over_a_takeover("todo_write", todos.clone()).await;
    assert_eq!((&written["type"], &written["todos"]), (&json!("todo_write"), &todos["todos"]));
    assert_eq!(written["message"], "1 of 2 done.");
    let read = ann.call(2, "call_r", "todo_write", json!({})).await.unwrap();
    assert_eq!(read["todos"], todos["todos"]);

    let news = json!({"name": "Ann", "pain_points": ["forms"]});
    let late = ann.call(1, "call_3", "add_understanding", news.clone()).await.unwrap_err();
    assert_eq!(late["error"], "the attempt was fenced off");
    let learned = ann.call(2, "call_3", "add_understanding", news.clone()).await.unwrap();
    assert_eq!(learned["updated_fields"], json!(["name", "pain_points"]));
    assert_eq!(ann.call(2, "call_3", "add_understanding", news).await.unwrap(), learned);
    let more = ann.call(2, "call_4", "add_understanding", json!({"pain_points": ["stairs"]})).await.unwrap();
    assert_eq!(more["current_understanding"]["business"]["pain_points"], json!(["forms", "stairs"]));
    assert_eq!(more["current_understanding"]["name"], "Ann");
    let none = ann.call(2, "call_5", "add_understanding", json!({"name": " "})).await.unwrap();
    assert_eq!(none["error"], "no_fields");
    let prompts = json!({"suggested_prompts": []});
    assert_eq!(ann.call(2, "call_6", "add_understanding", prompts).await.unwrap_err()["error"], "invalid_arguments");
}

#[tokio::test]
async fn who_is_anonymous_can_plan_and_be_asked_but_owns_no_library() {
    let nobody = Running::of(Caller::Claim([7; 32])).await;
    let planned = nobody.ask("todo_write", json!({"todos": [{"content": "one", "status": "pending"}]})).await;
    assert_eq!(planned["type"], "todo_write");
    let question = json!({"questions": [{"question": "Which?", "keyword": "one"}]});
    assert_eq!(nobody.ask("ask_question", question).await["type"], "agent_builder_clarification_needed");
    assert_eq!(nobody.ask("search_docs", json!({"query": "cursor"})).await["type"], "doc_search_results");
    assert_eq!(nobody.ask("get_doc_page", json!({"path": "README.md"})).await["title"], "Copilot");
    // Before its arguments are looked at, so that nobody is asked for better ones in vain.
    let open = [
        "calculator",
        "get_current_time",
        "web_fetch",
        "get_mcp_guide",
        "ask_question",
        "suggest_goal",
        "todo_write",
        "search_docs",
        "get_doc_page",
    ];
    for tool in nobody.toolbox.specs().iter().filter(|tool| !open.contains(&tool.name.as_str())) {
        assert_eq!(nobody.ask(&tool.name, json!({})).await["type"], "need_login", "{}", tool.name);
    }
}

#[tokio::test]
async fn folders_are_moved_renamed_and_deleted() {
    let ann = Running::of_user("ann").await;
    let make = async |name: &str, parent: Option<&str>| {
        let made = ann.ask("create_folder", json!({"name": name, "parent_id": parent})).await;
        made["folder"]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    let error = async |tool: &str, input: Value| {
        let answer = ann.ask(tool, input).await;
        format!("{} {}", answer["error"].as_str().unwrap(), answer["message"].as_str().unwrap())
    };
    let work = make("Work", None).await;
    let taxes = make("Taxes", Some(&work)).await;
    let old = make("Old", None).await;

    let moved = ann.ask("move_folder", json!({"folder_id": old, "target_parent_id": taxes})).await;
    assert_eq!((&moved["type"], &moved["target_parent_id"]), (&json!("folder_moved"), &json!(taxes)));
    for target in [&work, &taxes, &old] {
        let refused = error("move_folder", json!({"folder_id": work, "target_parent_id": target})).await;
        assert_eq!(refused, "move_folder_failed A folder cannot lie in itself.");
    }
    let list = ann.ask("list_folders", json!({})).await;
    assert_eq!(list["count"], 3);
    assert_eq!(list["tree"][0]["children"][0]["children"][0]["name"], "Old");
    let inside = ann.ask("list_folders", json!({"parent_id": work})).await;
    assert_eq!((&inside["count"], &inside["folders"][0]["subfolder_count"]), (&json!(1), &json!(1)));

    let taken = error("create_folder", json!({"name": "Work"})).await;
    assert!(taken.starts_with("create_folder_failed There is a folder called \"Work\""), "{taken}");
    let renamed = ann.ask("update_folder", json!({"folder_id": work, "name": "Jobs", "color": "#fff"})).await;
    assert_eq!((&renamed["folder"]["name"], &renamed["folder"]["color"]), (&json!("Jobs"), &json!("#fff")));
    make("Work", None).await;
    let taken = error("update_folder", json!({"folder_id": work, "name": "Work"})).await;
    assert!(taken.starts_with("update_folder_failed There is a folder"), "{taken}");

    let deleted = ann.ask("delete_folder", json!({"folder_id": taxes})).await;
    assert_eq!((&deleted["type"], &deleted["folder_id"]), (&json!("folder_deleted"), &json!(taxes)));
    assert_eq!(ann.ask("delete_folder", json!({"folder_id": taxes})).await, deleted, "twice is no mistake");
    assert_eq!(ann.ask("list_folders", json!({})).await["count"], 2, "what lay in it is gone, too");
    assert!(error("move_folder", json!({"folder_id": old})).await.starts_with("move_folder_failed There is no folder"));
    assert!(error("create_folder", json!({"name": " "})).await.starts_with("missing_name"));
    assert!(error("delete_folder", json!({"folder_id": ""})).await.starts_with("missing_folder_id"));
    assert!(error("delete_folder", json!({"folder_id": "x"})).await.starts_with("delete_folder_failed"));
    assert!(error("update_folder", json!({"folder_id": work})).await.starts_with("update_folder_failed Say what"));

    // Nobody else's folders can be seen or used.
    ann.services.sql("INSERT INTO users (id) VALUES ('ben')").await;
    ann.services.sql("UPDATE folders SET user_id = 'ben' WHERE name = 'Work'").await;
    let his: Value = ann.ask("list_folders", json!({})).await;
    assert_eq!(his["count"], 1);
}

#[tokio::test]
async fn folders_lie_no_deeper_than_five() {
    let ann = Running::of_user("ann").await;
    let mut parent = Value::Null;
    for depth in 1..=5 {
        let made = ann.ask("create_folder", json!({"name": depth.to_string(), "parent_id": parent})).await;
        parent = made["folder"]["id"].clone();
    }
    let deeper = ann.ask("create_folder", json!({"name": "6", "parent_id": parent})).await;
    assert_eq!(deeper["error"], "create_folder_failed");
    let pair = ann.ask("create_folder", json!({"name": "top"})).await["folder"]["id"].clone();
    let moved = ann.ask("move_folder", json!({"folder_id": pair, "target_parent_id": parent})).await;
    assert_eq!(moved["error"], "move_folder_failed");
}

/// Linear that answers so, one request after the other.
async fn linear(replies: &[(u16, Value)]) -> (Witness, Linear) {
    crate::provider::tls();
    let replies = replies.iter().map(|(status, body)| Reply::Answer(*status, "application/json", body.to_string()));
    let witness = Witness::start(replies.collect(), Reply::Answer(500, "text/plain", "no more".into())).await;
    let settings = LinearSettings {
        key: "lin_api_key".parse().unwrap(),
        url: format!("{}/graphql", witness.url).parse().unwrap(),
        team_id: "team".into(),
        project_id: "project".into(),
    };
    (witness, Linear::new(settings).unwrap())
}

fn issue(id: &str) -> Value {
    json!({"id": id, "identifier": "ENG-7", "title": "Export", "url": "https://linear.app/x/issue/ENG-7"})
}

fn customer() -> (u16, Value) {
    (200, json!({"data": {"customerUpsert": {"success": true, "customer": {"id": "c", "name": "ann"}}}}))
}

fn needed() -> (u16, Value) {
    (200, json!({"data": {"customerNeedCreate": {"success": true}}}))
}

fn refused(what: &str) -> (u16, Value) {
    (200, json!({"data": null, "errors": [{"message": what}]}))
}

#[tokio::test]
async fn a_wish_goes_to_linear_where_its_key_is_set() {
    let mut ann = Running::of_user("ann").await;
    let found = json!({"data": {"searchIssues": {"nodes": [issue("i")]}}});
    let made = json!({"data": {"issueCreate": {"success": true, "issue": issue("i")}}});
    let (witness, client) = linear(&[(200, found), customer(), (200, made), needed()]).await;
    ann.resources.linear = Some(client);
    let found = ann.ask("search_feature_requests", json!({"query": "export"})).await;
    assert_eq!(found["results"], json!([{"id": "i", "identifier": "ENG-7", "title": "Export"}]));
    let wish = json!({"title": "Export", "description": "To print."});
    let created = ann.call(1, "call_1", "create_feature_request", wish).await.unwrap();
    assert_eq!(created["issue_url"], "https://linear.app/x/issue/ENG-7");
    assert_eq!((&created["is_new_issue"], &created["customer_name"]), (&json!(true), &json!("ann")));

    let seen = witness.seen();
    let [search, _, create, need] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(search.body["variables"]["filter"], json!({"project": {"id": {"eq": "project"}}}));
    let id = ann.context(1, "call_1").id_of_the_made().to_string();
    let input = &create.body["variables"]["input"];
    assert_eq!((&input["id"], &input["teamId"], &input["projectId"]), (&json!(id), &json!("team"), &json!("project")));
    let input = &need.body["variables"]["input"];
    assert_eq!(input, &json!({"id": id, "customerExternalId": "ann", "issueId": "i", "body": "To print."}));
    assert_eq!(ann.services.count("SELECT count(*) FROM feature_requests").await, 0);
}

#[tokio::test]
async fn what_an_earlier_attempt_made_in_linear_is_not_made_again() {
    let mut ann = Running::of_user("ann").await;
    let issues = json!({"data": {"issues": {"nodes": [issue("i")]}}});
    let needs = json!({"data": {"customerNeeds": {"nodes": [{"id": "n"}]}}});
    let taken = || refused("id is not unique");
    let (witness, client) = linear(&[customer(), taken(), (200, issues), taken(), (200, needs)]).await;
    ann.resources.linear = Some(client);
    let wish = json!({"title": "Export", "description": "To print."});
    let created = ann.ask("create_feature_request", wish).await;
    assert_eq!((&created["type"], &created["issue_id"]), (&json!("feature_request_created"), &json!("i")));
    assert_eq!(witness.seen().len(), 5);
}

#[tokio::test]
async fn what_linear_refuses_is_said_and_an_issue_without_a_voice_is_named() {
    let mut ann = Running::of_user("ann").await;
    let made = json!({"data": {"issueCreate": {"success": true, "issue": issue("i")}}});
    let none = json!({"data": {"customerNeeds": {"nodes": []}}});
    let gone = json!({"data": {"issues": {"nodes": []}}});
    let replies =
        [customer(), (200, made), refused("secret reason"), (200, none), customer(), (200, gone), (401, json!({}))];
    let (_witness, client) = linear(&replies).await;
    ann.resources.linear = Some(client);
    let wish = || json!({"title": "Export", "description": "To print."});
    let orphan = ann.ask("create_feature_request", wish()).await;
    assert_eq!((&orphan["error"], &orphan["details"]["issue_identifier"]), (&json!("tracker_failed"), &json!("ENG-7")));
    assert!(!orphan.to_string().contains("secret"), "{orphan}");
    let mut voice = wish();
    voice["existing_issue_id"] = "elsewhere".into();
    assert_eq!(ann.ask("create_feature_request", voice).await["error"], "not_found");
    let closed = ann.ask("search_feature_requests", json!({"query": "x"})).await;
    assert_eq!(closed["message"], "The tracker of feature requests answered 401 Unauthorized.");
}
