//! Commands of strangers, run elsewhere: each session has a sandbox of E2B's, or of a system that
//! speaks its protocol (`usage-tools.md` §7.7). Two servers are spoken to: the API that makes and
//! kills sandboxes, and `envd`, which runs in each of them.
//!
//! Nothing outlives a run here either: what watches over a command in its sandbox kills it with all
//! that it has started once the worker says so, or says nothing any more.

use std::time::Duration;

use copilot_shared::id::SessionId;
use copilot_shared::store::{Fence, Fenced, Store, StoreError};
use reqwest::{Client, StatusCode, redirect};

mod api;
mod config;
mod envd;
mod files;
mod frames;
mod reach;
mod run;
mod sweep;

pub use config::{CloudArgs, CloudKey, OnTimeout};
pub use files::CloudPieces;

use api::Api;
use config::Settings;

/// How long it may take to reach a server.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long one request to the API may take: a sandbox that was paused has to wake up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long `envd` may be silent. It is asked for a sign of life more often.
const SILENT_FOR: Duration = Duration::from_mins(1);

/// In whose name a sandbox is used.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The session, which has the sandbox.
    pub session: SessionId,
    /// The attempt that uses it.
    pub fence: Fence,
}

/// Why there is no answer from a sandbox. What is displayed holds nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A server cannot be reached.
    #[error("The sandbox cannot be reached.")]
    Transport(#[from] reqwest::Error),
    /// A server refuses.
    #[error("The service of the sandbox answered {status}.")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What kind of refusal it is, if that was said in a word.
        code: Option<String>,
    },
    /// The sandbox is not there.
    #[error("The sandbox is gone.")]
    Gone,
    /// The command was not begun in time.
    #[error("The sandbox does not answer.")]
    Silent,
    /// It is not known how the command ended.
    #[error("The connection to the sandbox broke while the command was running. What it did is not known.")]
    Broken(#[source] Option<Box<Self>>),
    /// A server does not speak its protocol.
    #[error("The service of the sandbox gave an answer that makes no sense.")]
    Nonsense(&'static str),
    /// Another worker has the turn, or the store failed.
    #[error("The sandbox of the conversation could not be looked up.")]
    Fenced(#[from] Fenced),
    /// The store failed.
    #[error("The sandbox of the conversation could not be looked up.")]
    Store(#[from] StoreError),
}

/// The sandboxes outside. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Cloud {
    api: Api,
    /// Speaks to `envd`.
    client: Client,
    store: Store,
    settings: Settings,
}

impl Cloud {
    fn new(settings: Settings, store: Store) -> Result<Self, reqwest::Error> {
        let client = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_WITHIN)
                .user_agent(concat!("copilot/", env!("CARGO_PKG_VERSION")))
        };
        let api = Api::new(client().timeout(ANSWER_WITHIN).build()?, settings.clone());
        Ok(Self { api, client: client().read_timeout(SILENT_FOR).build()?, store, settings })
    }
}
