//! The name of a fresh session, made in the background. A failure leaves it without one.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::SessionId;
use copilot_shared::message::{HistoryMessage, Part, Role, told_text};
use copilot_shared::session::Title;
use copilot_shared::store::StoreError;
use futures_util::StreamExt;

use crate::model::{Model, ModelError, ModelEvent, ModelRequest};
use crate::worker::Worker;

const SYSTEM: &str = "Write a title for a conversation that begins with the following message: three to six words, in \
    the language of the message, without quotation marks or a full stop. Answer with the title alone.";

/// How much of the message the title is made from, in characters (`core.md` §4.7).
const EXCERPT_CHARS: usize = 500;

/// A name is not worth a longer wait.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum TitleError {
    #[error("the database")]
    Store(#[from] StoreError),
    #[error("the model")]
    Model(#[from] ModelError),
    #[error("it took too long")]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

/// Names the session if it has no name and this is its first message.
pub(super) fn begin(worker: &Arc<Worker>, session: SessionId) {
    if worker.title_model.is_none() {
        return;
    }
    let tasks = worker.tasks.clone();
    let worker = Arc::clone(worker);
    tasks.spawn(async move {
        if let Err(error) = name(&worker, session).await {
            tracing::info!(session.id = %session, error = &error as &dyn std::error::Error, "the session stays without a title");
        }
    });
}

async fn name(worker: &Worker, session: SessionId) -> Result<(), TitleError> {
    let Some((model, model_name)) = &worker.title_model else { return Ok(()) };
    if !worker.store.wants_title(session).await? {
        return Ok(());
    }
    let history = worker.store.history(session, 10).await?;
    let Some(message) = history.iter().find(|message| message.role == Role::User) else { return Ok(()) };
    let excerpt: String = told_text(&message.parts).chars().take(EXCERPT_CHARS).collect();
    let request = ModelRequest {
        model: model_name.clone(),
        system: SYSTEM.to_owned(),
        messages: vec![HistoryMessage { role: Role::User, parts: vec![Part::Text { id: None, text: excerpt }] }],
        files: Arc::default(),
        tools: Arc::from([]),
        max_output_tokens: Some(20),
        user: None,
    };
    let answer = tokio::select! {
        () = worker.stop.cancelled() => return Ok(()),
        answer = tokio::time::timeout(PATIENCE, text(model.as_ref(), request)) => answer??,
    };
    if let Some(title) = Title::from_model(&answer) {
        worker.store.title_if_untitled(session, &title).await?;
    }
    Ok(())
}

async fn text(model: &dyn Model, request: ModelRequest) -> Result<String, ModelError> {
    let mut events = model.stream(request);
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event? {
            ModelEvent::Text(delta) => text.push_str(&delta),
            ModelEvent::Finish(_) => break,
            ModelEvent::Reasoning(_)
            | ModelEvent::ReasoningSignature(_)
            | ModelEvent::ToolCallStart { .. }
            | ModelEvent::ToolCallDelta { .. }
            | ModelEvent::Usage(_) => {}
        }
    }
    Ok(text)
}
