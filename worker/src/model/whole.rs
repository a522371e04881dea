//! A whole answer at once, for the small tasks that the system itself gives.

use copilot_shared::usage::TokenUsage;
use futures_util::StreamExt;

use super::{Model, ModelError, ModelEvent, ModelRequest};

/// What a model said, and what that used.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its text, without its thoughts.
    pub text: String,
    /// As the provider reported it, else an estimate.
    pub usage: TokenUsage,
}

/// Makes a call and waits for its end.
pub async fn answer(model: &dyn Model, request: ModelRequest) -> Result<Whole, ModelError> {
    let asked = request.system.len() + request.messages.iter().map(crate::compaction::bytes).sum::<usize>();
    let mut events = model.stream(request);
    let mut text = String::new();
    let mut reported = None;
    while let Some(event) = events.next().await {
        match event? {
            ModelEvent::Text(delta) => text.push_str(&delta),
            ModelEvent::Usage(usage) => reported = Some(usage),
            ModelEvent::Finish(_) => break,
            ModelEvent::Reasoning(_)
            | ModelEvent::ReasoningSignature(_)
            | ModelEvent::ToolCallStart { .. }
            | ModelEvent::ToolCallDelta { .. } => {}
        }
    }
    let usage = reported.unwrap_or_else(|| TokenUsage::estimate(asked, text.len()));
    Ok(Whole { text, usage })
}
