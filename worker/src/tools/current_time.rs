//! `get_current_time`: what a model cannot know.

use chrono::Utc;
use copilot_shared::tool::{Repeat, ToolSpec};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Tool, ToolContext};

/// Tells the time.
pub(super) struct CurrentTime;

impl Tool for CurrentTime {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_current_time".into(),
            description: "Tells the current date and time in UTC.".into(),
            parameters: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
        }
    }

    fn repeat(&self) -> Repeat {
        Repeat::Safe
    }

    fn call(&self, _context: ToolContext, _input: Value) -> BoxFuture<'static, Result<Value, String>> {
        let now = Utc::now();
        let output = json!({ "utc": now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), "weekday": now.format("%A").to_string() });
        Box::pin(std::future::ready(Ok(output)))
    }
}
