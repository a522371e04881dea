//! Sandboxes outside: one a session, whoever asks and whatever dies, and nothing left in it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use copilot_shared::id::{MessageId, SessionId, TurnId, WorkerId};
use copilot_shared::message::{Part, Speaker};
use copilot_shared::session::Caller;
use copilot_shared::store::{Claim, Fence, NewTurn, OnBusy, Store};
use copilot_shared::testing::e2b::{E2b, Trick};
use copilot_shared::testing::{Services, eventually};
use copilot_worker::cloud::{Cloud, CloudArgs, CloudError, OnTimeout, Whose};
use copilot_worker::model::config::Provider;
use copilot_worker::sandbox::{Ending, Excess, Said};
use serde_json::{Value, json};

use crate::turns::{Scene, ann, calls, file_id, outcomes, says};

const CREATE: &str = "POST /v2/sandboxes";
const FIND: &str = "GET /v2/sandboxes";
const KEEP: Duration = Duration::from_hours(48);

/// A session of Ann's whose turn runs, and the E2B that it may use.
struct Outside {
    e2b: E2b,
    store: Store,
    whose: Whose,
    services: Services,
}

impl Outside {
    async fn new() -> Self {
        crate::provider::tls();
        let (services, e2b) = (Services::isolated().await, E2b::start().await);
        let store = services.store();
        let owner = Caller::User(ann());
        let session = store.create_session(SessionId::random(), &owner).await.unwrap().id;
        let new = NewTurn {
            id: TurnId::generate(),
            message_id: MessageId::generate(),
            parts: vec![Part::Text { id: None, text: "go".into() }],
            on_busy: OnBusy::Enqueue,
            ui_id: None,
            speaker: Speaker::User,
            idempotency: None,
        };
        store.submit(session, &owner, &new).await.unwrap();
        let Claim::Claimed(claimed) = store.claim(new.id, WorkerId::generate(), false).await.unwrap() else {
            panic!("it can be claimed")
        };
        let fence = Fence { turn: new.id, attempt: claimed.turn.attempt };
        Self { e2b, store, whose: Whose { session, fence }, services }
    }

    /// A worker's way there.
    fn cloud(&self) -> Cloud {
        self.cloud_with(self.e2b.environment()[0].1)
    }

    fn cloud_with(&self, key: &str) -> Cloud {
        let url = || Some(self.e2b.url.parse().unwrap());
        let args = CloudArgs {
            e2b_api_key: Some(key.parse().unwrap()),
            e2b_domain: "example.invalid".into(),
            e2b_api_url: url(),
            e2b_sandbox_url: url(),
            e2b_template: "base".into(),
            e2b_timeout_seconds: 420,
            e2b_on_timeout: OnTimeout::Pause,
        };
        args.cloud(self.store.clone(), KEEP).unwrap().unwrap()
    }

    async fn try_run(&self, command: &str, seconds: u64) -> Result<(Said, Ending), CloudError> {
        self.cloud().run(self.whose, command, Duration::from_secs(seconds), |_| {}).await
    }

    async fn says(&self, command: &str) -> String {
        let (said, ending) = self.try_run(command, 30).await.unwrap();
        assert_eq!((ending, said.stderr.as_str()), (Ending::Exited(0), ""));
        said.stdout
    }

    /// A sandbox whose maker died before it noted it.
    async fn make_unnoted(&self, session: SessionId) {
        let body = json!({"templateID": "base", "metadata": {"copilot_session": session}});
        let request = reqwest::Client::new().post(format!("{}/v2/sandboxes", self.e2b.url)).json(&body);
        let answer = request.header("X-API-KEY", self.e2b.environment()[0].1).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }

    async fn rows(&self) -> i64 {
        self.services.count("SELECT count(*) FROM cloud_sandboxes").await
    }
}

/// Processes of this machine that sleep for so long.
fn sleepers(seconds: u32) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line) == format!("sleep\0{seconds}\0")).count()
}

async fn none_sleeps(seconds: u32) {
    let gone = || async { (sleepers(seconds) == 0).then_some(()) };
    eventually("no process is left", Duration::from_secs(30), gone).await;
}

/// Leaves its group and its environment behind, as far as it can.
fn clinging(seconds: u32) -> String {
    format!(
        "setsid -f sleep {seconds}; env -i sleep {seconds} & sleep {seconds} & echo begun; trap '' TERM; sleep {seconds}"
    )
}

#[tokio::test]
async fn every_worker_finds_the_sessions_sandbox_and_its_files() {
    let outside = Outside::new().await;
    let (said, ending) = outside.try_run("echo hällo | tee f; echo oops >&2; pwd > where; exit 3", 30).await.unwrap();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str(), ending), ("hällo\n", "oops\n", Ending::Exited(3)));
    assert_eq!(outside.says("cat f").await, "hällo\n");
    assert_eq!(outside.says("[ $PWD = $HOME ] && cat").await, "", "stdin is empty");
    let (_, ending) = outside.try_run("kill -9 $$", 30).await.unwrap();
    assert_eq!(ending, Ending::Exited(137));
    assert_eq!((outside.e2b.sandboxes().len(), outside.e2b.asked(CREATE), outside.e2b.asked(FIND)), (1, 1, 0));
    let id = outside.e2b.sandboxes().remove(0);
    outside.try_run("true", 1_800).await.unwrap();
    assert!(outside.e2b.seconds_left(&id).unwrap() > 1_800, "it runs as long as its command may");
}

#[tokio::test]
async fn workers_that_ask_at_once_get_one_sandbox() {
    let outside = Outside::new().await;
    outside.e2b.play(CREATE, Trick::Dawdle(Duration::from_secs(1)));
    let runs = (0..4).map(|_| outside.says("echo $E2B_SANDBOX_ID"));
    let said = futures_util::future::join_all(runs).await;
    assert_eq!(outside.e2b.sandboxes().len(), 1);
    assert!(said.iter().all(|id| id.trim() == outside.e2b.sandboxes()[0]), "{said:?}");
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_second_sandbox() {
    let outside = Outside::new().await;
    outside.e2b.play(CREATE, Trick::LoseAnswer);
    outside.e2b.play(CREATE, Trick::Refuse(409, "idempotency_in_progress"));
    outside.says("touch here").await;
    assert_eq!((outside.e2b.sandboxes().len(), outside.e2b.asked(CREATE)), (1, 3));
}

#[tokio::test]
async fn whoever_comes_after_a_death_finds_what_was_made() {
    let outside = Outside::new().await;
    outside.e2b.play(CREATE, Trick::Dawdle(Duration::from_mins(1)));
    let made = eventually("it is made", Duration::from_secs(10), || async { outside.e2b.sandboxes().pop() });
    tokio::select! {
        ran = outside.try_run("true", 30) => panic!("it was too quick: {ran:?}"),
        _ = made => {}
    }
    assert_eq!(outside.services.count("SELECT count(*) FROM cloud_sandboxes WHERE sandbox_id IS NULL").await, 1);
    outside.says("true").await;
    assert_eq!((outside.e2b.sandboxes().len(), outside.e2b.asked(CREATE), outside.e2b.asked(FIND)), (1, 1, 1));

    // The key was noted, and then nothing more.
    outside.e2b.kill(&outside.e2b.sandboxes()[0]);
    outside.services.sql("UPDATE cloud_sandboxes SET sandbox_id = NULL, creation_key = gen_random_uuid()").await;
    outside.says("true").await;
    assert_eq!(outside.e2b.sandboxes().len(), 1);
    outside.services.sql("UPDATE cloud_sandboxes SET sandbox_id = NULL, creation_key = gen_random_uuid()").await;
    outside.e2b.kill(&outside.e2b.sandboxes()[0]);
    outside.e2b.play(CREATE, Trick::Refuse(409, "idempotency_outcome_unknown"));
    outside.says("true").await;
    assert_eq!(outside.e2b.sandboxes().len(), 1, "a key that is spent has a successor");
}

#[tokio::test]
async fn one_that_sleeps_is_woken_and_one_that_is_gone_is_replaced() {
    let outside = Outside::new().await;
    outside.says("echo kept > f").await;
    let first = outside.e2b.sandboxes().remove(0);
    outside.e2b.expire(&first);
    assert_eq!(outside.e2b.seconds_left(&first), None);
    assert_eq!(outside.says("cat f").await, "kept\n");

    outside.e2b.kill(&first);
    assert_eq!(outside.says("ls").await, "");
    assert!(outside.e2b.sandboxes() != [first]);
    // It goes in the moment between.
    outside.e2b.play("POST /process.Process/Start", Trick::Refuse(502, "The sandbox was not found"));
    assert_eq!(outside.says("echo once").await, "once\n");
    assert_eq!(outside.e2b.sandboxes().len(), 1);
}

#[tokio::test]
async fn a_command_ends_with_all_that_it_started() {
    let outside = Outside::new().await;
    let seconds = 63_001_000 + std::process::id();
    let (said, ending) = outside.try_run(&clinging(seconds), 2).await.unwrap();
    assert_eq!((said.stdout.as_str(), ending), ("begun\n", Ending::TimedOut));
    assert_eq!(sleepers(seconds), 0, "it is over when it is said to be");
    let began = Instant::now();
    let (said, ending) =
        outside.try_run(&format!("setsid -f sleep {seconds}; sleep {seconds} & echo x"), 30).await.unwrap();
    assert_eq!((said.stdout.as_str(), ending), ("x\n", Ending::Exited(0)));
    assert!(began.elapsed() < Duration::from_secs(25) && sleepers(seconds) == 0);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_process() {
    let outside = Outside::new().await;
    let seconds = 64_001_000 + std::process::id();
    let command = clinging(seconds);
    let begun = eventually("it runs", Duration::from_secs(30), || async { (sleepers(seconds) == 4).then_some(()) });
    tokio::select! {
        ran = outside.try_run(&command, 100) => panic!("it ended: {ran:?}"),
        () = begun => {}
    }
    let dropped = Instant::now();
    none_sleeps(seconds).await;
    assert!(dropped.elapsed() < Duration::from_secs(10), "it did not wait for silence");
    assert_eq!(outside.says("echo next").await, "next\n");
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_ends_by_itself() {
    let outside = Outside::new().await;
    let seconds = 65_001_000 + std::process::id();
    let command = clinging(seconds);
    // Every word to it is lost from now on, as if its worker were dead.
    for _ in 0..20 {
        outside.e2b.play("POST /process.Process/SendInput", Trick::Refuse(500, "internal"));
    }
    let (ran, ()) = tokio::join!(outside.try_run(&command, 60), async {
        eventually("it runs", Duration::from_secs(30), || async { (sleepers(seconds) == 4).then_some(()) }).await;
        none_sleeps(seconds).await;
    });
    assert_eq!(ran.unwrap().1, Ending::Exited(137));
}

#[tokio::test]
async fn output_is_shown_as_it_comes_and_kept_at_both_ends() {
    let outside = Outside::new().await;
    let shown = Mutex::new(Vec::new());
    let command = "echo first; sleep 2; head -c 300000 /dev/zero | tr '\\0' x; echo last";
    let show = |said: Said| shown.lock().unwrap().push(said.stdout);
    let (said, _) = outside.cloud().run(outside.whose, command, Duration::from_mins(1), show).await.unwrap();
    assert_eq!(shown.lock().unwrap()[0], "first\n");
    assert!(said.stdout.starts_with("first\nxxx") && said.stdout.ends_with("xxxlast\n"));
    assert!(said.stdout.contains("bytes omitted") && said.stdout.len() < 21_000);

    let (said, ending) = outside.try_run("yes", 120).await.unwrap();
    assert_eq!(ending, Ending::Full(Excess::Output));
    assert!(said.stdout.starts_with("y\ny\n") && said.stdout.len() < 21_000);
}

#[tokio::test]
async fn a_sandbox_that_goes_in_the_middle_is_no_outcome() {
    let outside = Outside::new().await;
    let seconds = 66_001_000 + std::process::id();
    let command = format!("sleep {seconds}");
    let (ran, ()) = tokio::join!(outside.try_run(&command, 60), async {
        eventually("it runs", Duration::from_secs(30), || async { (sleepers(seconds) == 1).then_some(()) }).await;
        outside.e2b.kill(&outside.e2b.sandboxes()[0]);
    });
    assert!(matches!(&ran, Err(CloudError::Broken(Some(_)))), "{ran:?}");
    none_sleeps(seconds).await;
}

#[tokio::test]
async fn refusals_say_nothing_of_the_key() {
    let outside = Outside::new().await;
    let cloud = outside.cloud_with("e2b_another-secret");
    let error = cloud.run(outside.whose, "true", Duration::from_secs(1), |_| {}).await.unwrap_err();
    assert!(matches!(&error, CloudError::Refused { status, .. } if status.as_u16() == 401), "{error:?}");
    assert!(!format!("{error:?} {error} {cloud:?}").contains("another-secret"));

    outside.services.sql("UPDATE turns SET attempt = attempt + 1").await;
    let error = outside.try_run("true", 1).await.unwrap_err();
    assert!(matches!(error, CloudError::Fenced(_)), "a worker that was taken over gets none: {error:?}");
    assert!(outside.e2b.sandboxes().is_empty());
}

#[tokio::test]
async fn a_session_that_is_deleted_takes_its_sandboxes_along() {
    let outside = Outside::new().await;
    let cloud = outside.cloud();
    outside.says("true").await;
    assert_eq!(cloud.sweep().await.unwrap(), 0);
    outside.make_unnoted(outside.whose.session).await;
    outside.make_unnoted(SessionId::random()).await;
    assert_eq!(outside.e2b.sandboxes().len(), 3);

    assert!(outside.store.delete_session(outside.whose.session, &Caller::User(ann())).await.unwrap());
    outside.e2b.play("DELETE /sandboxes/*", Trick::Refuse(500, "internal_server_error"));
    assert_eq!((cloud.sweep().await.unwrap(), outside.rows().await), (0, 1), "it is not forgotten");
    outside.services.sql("UPDATE cloud_sandboxes SET due_at = now()").await;
    assert_eq!((cloud.sweep().await.unwrap(), outside.rows().await), (1, 0));
    assert_eq!(outside.e2b.sandboxes().len(), 1, "another session's stays");
}

#[tokio::test]
async fn one_that_nobody_uses_any_more_is_killed() {
    let outside = Outside::new().await;
    outside.says("true").await;
    outside.services.sql("UPDATE cloud_sandboxes SET due_at = due_at - interval '48 hours'").await;
    assert_eq!((outside.cloud().sweep().await.unwrap(), outside.e2b.sandboxes().len()), (1, 0));
    outside.says("true").await;
    assert_eq!(outside.e2b.sandboxes().len(), 1);
}

#[tokio::test]
async fn what_may_still_arrive_is_waited_for() {
    let outside = Outside::new().await;
    let cloud = outside.cloud();
    outside.e2b.play(CREATE, Trick::Refuse(500, "internal_server_error"));
    assert!(outside.try_run("true", 30).await.is_err());
    assert!(outside.store.delete_session(outside.whose.session, &Caller::User(ann())).await.unwrap());
    assert_eq!((cloud.sweep().await.unwrap(), outside.rows().await), (0, 1));
    outside.services.sql("UPDATE cloud_sandboxes SET due_at = now(), used_at = now() - interval '1 hour'").await;
    assert_eq!((cloud.sweep().await.unwrap(), outside.rows().await), (1, 0));
}

#[tokio::test]
async fn commands_and_workspace_tools_share_the_sandboxs_files() {
    crate::provider::tls();
    let e2b = E2b::start().await;
    let bash = |command: &str| ("bash_exec", json!({"command": command}));
    let answers = vec![
        calls(&[
            ("read_workspace_file", json!({"path": "in.csv", "save_to_path": "/home/user/data/in.csv"})),
            bash("mkdir -p out && sort data/in.csv > out/sorted.csv && ls -A data"),
            ("write_workspace_file", json!({"filename": "sorted.csv", "source_path": "out/sorted.csv"})),
            ("write_workspace_file", json!({"filename": "none", "source_path": "/home/user/nowhere"})),
            ("write_workspace_file", json!({"filename": "out", "source_path": "out"})),
            ("write_workspace_file", json!({"filename": "stolen", "source_path": "/etc/passwd"})),
            bash(" "),
        ]),
        says("done"),
    ];
    let scene = Scene::start(Provider::Openai, answers, &e2b.environment()).await;
    scene.file("in.csv", "b\na\n").await;
    let (_, history) = scene.turn("go", &[]).await;
    let outcomes: Vec<Value> = outcomes(&history).into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(outcomes[1]["stdout"], "in.csv\n", "nothing incomplete lies beside it: {outcomes:?}");
    let sorted = scene.files.find(&ann(), file_id(&outcomes[2])).await.unwrap().unwrap();
    assert_eq!(scene.files.read_whole(&sorted, 100).await.unwrap().unwrap(), "a\nb\n");
    let codes: Vec<&Value> = outcomes[3..].iter().map(|outcome| &outcome["error"]).collect();
    assert_eq!(codes, ["source_unreadable", "source_unreadable", "source_unreadable", "empty_command"]);
    assert!(scene.asked()[0].body.to_string().contains("can reach the internet"), "the model knows where it is");

    scene.store.delete_session(scene.session, &Caller::User(ann())).await.unwrap();
    eventually("its sandbox is killed", Duration::from_secs(30), || async { e2b.sandboxes().is_empty().then_some(()) })
        .await;
}
