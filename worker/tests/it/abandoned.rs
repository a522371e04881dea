//! Calls that are dropped in the middle of a large file, as a cancel and a lost turn drop them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::{SessionId, ToolCallId, TurnId};
use copilot_shared::session::Caller;
use copilot_shared::testing::{Services, eventually};
use copilot_shared::turn::Attempt;
use copilot_shared::workspace::{FilePath, Target};
use copilot_worker::docs::Docs;
use copilot_worker::outbound::Outbound;
use copilot_worker::sandbox::Sandbox;
use copilot_worker::tools::{Outlet, Resources, ToolContext, Toolbox};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::turns::ann;

/// Takes a while to copy, and is as large as a file may be here.
const LARGE: usize = 8 << 20;

struct Scene {
    services: Services,
    context: ToolContext,
}

impl Scene {
    async fn new() -> Self {
        crate::provider::tls();
        let services = Services::isolated().await;
        let store = services.store();
        let session = store.create_session(SessionId::random(), &Caller::User(ann())).await.unwrap().id;
        let context = ToolContext {
            turn_id: TurnId::generate(),
            attempt: Attempt(1),
            session_id: session,
            user_id: Some(ann()),
            call_id: ToolCallId::generate(),
            stop: CancellationToken::new(),
            resources: Resources {
                workspaces: services.workspaces(1 << 30),
                outbound: Outbound::new("".parse().unwrap()).unwrap(),
                sandbox: Arc::new(Sandbox::new(&services.sandbox_dir, 1 << 30).unwrap()),
                cloud: None,
                secrets_key: None,
                docs: Arc::new(Docs::open(None, None).unwrap()),
                linear: None,
                store,
            },
            outlet: Outlet::channel().0,
        };
        Self { services, context }
    }

    /// Makes a call and drops it as soon as something of a file is there.
    async fn abandon(&self, tool: &str, arguments: Value, files: impl Fn() -> usize) {
        let toolbox = Toolbox::built_in().unwrap();
        let begun = async {
            while files() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            end = toolbox.call(tool, self.context.clone(), arguments) => panic!("it was too quick: {end:?}"),
            () = begun => {}
        }
        eventually("nothing of the file is left", Duration::from_secs(10), || async { (files() == 0).then_some(()) })
            .await;
    }
}

/// Files below a directory.
fn count(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let count_one = |path: &Path| if path.is_dir() { count(path) } else { usize::from(path.exists()) };
    entries.flatten().map(|entry| count_one(&entry.path())).sum()
}

#[tokio::test]
async fn a_copy_into_the_workspace_leaves_nothing() {
    let scene = Scene::new().await;
    let home = scene.services.sandbox_dir.join(scene.context.session_id.to_string()).join("home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("large"), vec![7; LARGE]).unwrap();
    let blobs = &scene.services.workspace_dir;
    let arguments = json!({"filename": "large", "source_path": "large"});
    scene.abandon("write_workspace_file", arguments, || count(blobs)).await;
    assert_eq!(scene.services.count("SELECT count(*) FROM workspace_files").await, 0);
    assert_eq!(scene.context.resources.workspaces.usage(&ann()).await.unwrap().used_bytes, 0);
}

#[tokio::test]
async fn a_copy_out_of_the_workspace_leaves_nothing() {
    let scene = Scene::new().await;
    let session = scene.context.session_id;
    let target = Target::at(FilePath::within(Some(session), "large").unwrap());
    scene.context.resources.workspaces.write(&ann(), target, vec![7; LARGE].into()).await.unwrap();
    let directory = scene.services.sandbox_dir.join(session.to_string());
    let arriving = || count(&directory.join("arriving")) + count(&directory.join("home"));
    scene.abandon("read_workspace_file", json!({"path": "large", "save_to_path": "a/large"}), arriving).await;
}
