//! `get_current_time`: what a model cannot know.

use chrono::{SecondsFormat, Utc};
use copilot_shared::tool::plain;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};

use super::{Access, NoArguments, Tool, ToolContext, ToolFailure};

/// Tells the time.
pub(super) struct CurrentTime;

impl Tool for CurrentTime {
    type Arguments = NoArguments;
    const NAME: &'static str = "get_current_time";
    const DESCRIPTION: &'static str = "Tells the current date and time in UTC.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, _: &ToolContext, _: NoArguments) -> Result<ToolAnswer, ToolFailure> {
        let now = Utc::now();
        let utc = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let weekday = now.format("%A").to_string();
        let message = format!("It is {weekday}, {utc}.");
        Ok(ToolAnswer::new(message, ToolResponse::CurrentTime(plain::CurrentTime { utc, weekday })))
    }
}
