//! A system whose models call tools, and a user for each of them.

use std::path::PathBuf;
use std::time::Duration;

use copilot_shared::id::{SessionId, UserId};
use copilot_shared::testing::eventually;
use copilot_shared::workspace::{FilePath, Target};
use serde_json::{Value, json};
use uuid::Uuid;

use super::outside::Outside;
use super::rows::{Effect, Place, Row};
use super::typed::Typed;
use crate::client::{Client, Stream};
use crate::system::{Process, System};

/// Many turns at once take a while on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mind {
    /// The embedded model.
    Demo,
    /// A provider that calls what it is told to.
    Scripted,
}

pub struct Stage {
    pub system: System,
    pub outside: Outside,
    pub typed: Typed,
    /// Does the server outside keep what users wish for?
    pub is_tracked: bool,
    environment: Vec<(&'static str, String)>,
}

impl Stage {
    pub async fn start(mind: Mind) -> Self {
        Self::start_with(mind, false).await
    }

    /// A scripted one, where the server outside keeps what users wish for, as Linear does.
    pub async fn with_a_tracker() -> Self {
        Self::start_with(Mind::Scripted, true).await
    }

    async fn start_with(mind: Mind, is_tracked: bool) -> Self {
        let outside = Outside::start().await;
        let url = &outside.url;
        // Leases that lapse in no test: only the broker and the dead worker's lock tell of a death.
        let mut environment =
            vec![("OUTBOUND_ALLOW", "127.0.0.0/8".to_owned()), ("TURN_LEASE_SECONDS", "60".to_owned())];
        if mind == Mind::Scripted {
            let settings = [("CHAT_MODEL", "m"), ("CHAT_API_KEY", "k"), ("CHAT_TITLE_MODEL", "off")];
            environment.extend(settings.map(|(name, value)| (name, value.to_owned())));
            environment.push(("CHAT_BASE_URL", format!("{url}/v1")));
        }
        if is_tracked {
            let settings = [("LINEAR_API_KEY", "k"), ("LINEAR_TEAM_ID", "team"), ("LINEAR_PROJECT_ID", "project")];
            environment.extend(settings.map(|(name, value)| (name, value.to_owned())));
            environment.push(("LINEAR_API_URL", format!("{url}/graphql")));
        }
        let borrowed: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let system = System::start_with(1, 1, &borrowed).await;
        let typed = Typed::of(&system).await;
        // Somebody else's, which the search finds.
        let wish = "INSERT INTO feature_requests (id, title, words) \
            VALUES (gen_random_uuid(), 'A dark mode', to_tsvector('english', 'a dark mode'))";
        system.services.sql(wish).await;
        Self { system, outside, typed, is_tracked, environment }
    }

    /// Kills the worker as a power cut would.
    pub async fn kill_worker(&mut self) {
        self.system.workers[0].kill().await;
    }

    /// Starts another in its place.
    pub async fn start_worker(&mut self) {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.system.workers[0] = Process::worker(&self.system.services, &environment).await;
    }

    /// A user of a row's own, with a conversation, a file and two folders.
    pub async fn place(&self, row: &Row, more: &str) -> Place {
        let services = &self.system.services;
        let place = Place {
            user: format!("of-{}", row.tool),
            session: self.system.client(0, &format!("of-{}", row.tool)).session().await,
            folder: Uuid::new_v4(),
            other: Uuid::new_v4(),
            outside: self.outside.url.clone(),
            more: more.to_owned(),
        };
        let session: SessionId = place.session.parse().unwrap();
        let file = Target::at(FilePath::within(Some(session), "notes.txt").unwrap());
        let user = UserId::parse(&place.user).unwrap();
        services.workspaces(1 << 30).write(&user, file, "what there is to note".into()).await.unwrap();
        let folders = format!(
            "INSERT INTO folders (id, user_id, name) VALUES ('{}', '{user}', 'Old'), ('{}', '{user}', 'Target')",
            place.folder, place.other
        );
        services.sql(&folders).await;
        place
    }

    pub fn client(&self, place: &Place) -> Client {
        self.system.client(0, &place.user)
    }

    /// Lets a scripted model make one call.
    pub async fn call(&self, place: &Place, row: &Row) -> Stream {
        let arguments: Value = serde_json::from_str(&place.fill(row.arguments)).unwrap();
        self.client(place).send(&place.session, &json!([[row.tool, arguments]]).to_string()).await
    }

    /// How often a row's call has had its effect.
    pub async fn effects(&self, place: &Place, row: &Row) -> usize {
        match row.effect {
            Effect::Nothing => 0,
            Effect::Counted(query) => self.system.services.count(query).await.try_into().unwrap(),
            Effect::Line => std::fs::read_to_string(self.home(place).join("log")).unwrap_or_default().lines().count(),
            Effect::McpCall => self.outside.mcp_calls(),
        }
    }

    fn home(&self, place: &Place) -> PathBuf {
        self.system.services.sandbox_dir.join(&place.session).join("home")
    }

    /// Waits until PostgreSQL counts so many.
    pub async fn counts(&self, what: &str, query: &str, wanted: usize) {
        let wanted = i64::try_from(wanted).unwrap();
        eventually(&format!("{what}: {wanted}"), PATIENCE, || async {
            (self.system.services.count(query).await == wanted).then_some(())
        })
        .await;
    }
}
