//! What happens, told to whoever counts it (`usage-tools.md` §5.6). It never blocks and never fails
//! a request: what cannot be told in time is dropped and counted. No text of a message and nothing
//! secret is ever in it, only lengths and names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::id::{SessionId, ToolCallId, TurnId, UserId};

mod posthog;

pub use posthog::{Delivery, Environment, Pace, PostHog, PostHogError};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message was accepted, for the first time.
    MessageSent {
        /// The turn that answers it; not told.
        turn_id: TurnId,
        /// The length of the message, in characters.
        message_length: usize,
    },
    /// A tool is called.
    ToolCalled {
        /// The tool.
        tool_name: String,
        /// The call.
        tool_call_id: ToolCallId,
    },
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageSent { .. } => "copilot_message_sent",
            Self::ToolCalled { .. } => "copilot_tool_called",
        }
    }

    /// The same for the same happening, however often it is told: a taken-over turn makes a call
    /// again, and a batch whose answer was lost is sent again.
    fn id(&self) -> Uuid {
        let what = match self {
            Self::MessageSent { turn_id, .. } => format!("{}:{turn_id}", self.name()),
            Self::ToolCalled { tool_call_id, .. } => format!("{}:{tool_call_id}", self.name()),
        };
        Uuid::new_v5(&Uuid::NAMESPACE_OID, what.as_bytes())
    }

    fn properties(&self) -> Value {
        match self {
            Self::MessageSent { message_length, .. } => json!({ "message_length": message_length }),
            Self::ToolCalled { tool_name, tool_call_id } => {
                json!({ "tool_name": tool_name, "tool_call_id": tool_call_id })
            }
        }
    }
}

/// Something that happened, to whom, where and when.
#[derive(Debug, Clone)]
struct Occurrence {
    event: Event,
    session: SessionId,
    user: Option<UserId>,
    at: DateTime<Utc>,
}

impl Occurrence {
    /// Whom it is counted for.
    fn distinct_id(&self) -> String {
        match &self.user {
            Some(user) => user.as_str().to_owned(),
            None => format!("anonymous_{}", self.session),
        }
    }
}

/// Where events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Analytics {
    sink: Sink,
}

#[derive(Debug, Clone)]
enum Sink {
    Log,
    PostHog { queue: mpsc::Sender<Occurrence>, waiting: Arc<AtomicU64> },
}

impl Analytics {
    /// Events go into the log alone, at level `debug`.
    pub fn logged() -> Self {
        Self { sink: Sink::Log }
    }

    /// Tells of an event in a session, of its user if it has one. Returns at once.
    pub fn capture(&self, session: SessionId, user: Option<&UserId>, event: Event) {
        let occurrence = Occurrence { event, session, user: user.cloned(), at: Utc::now() };
        match &self.sink {
            Sink::Log => tracing::debug!(
                event = occurrence.event.name(),
                distinct_id = occurrence.distinct_id(),
                session.id = %session,
                properties = %occurrence.event.properties(),
                "analytics"
            ),
            Sink::PostHog { queue, waiting } => {
                // Counted first: its delivery must not be counted before it.
                waiting.fetch_add(1, Ordering::Relaxed);
                if queue.try_send(occurrence).is_err() {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    Fate::Dropped.count(1);
                }
            }
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was taken.
    Delivered,
    /// There was no room, or no time left, for it.
    Dropped,
    /// The other side does not want it.
    Refused,
    /// The other side was away for too long.
    Unreachable,
}

impl Fate {
    fn count(self, events: u64) {
        let fate = match self {
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        };
        metrics::counter!("copilot_analytics_events_total", "fate" => fate).increment(events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_happening_told_twice_is_the_same() {
        let called = |id: &str| Event::ToolCalled { tool_name: "t".into(), tool_call_id: ToolCallId(id.into()) };
        assert_eq!(called("call_1").id(), called("call_1").id());
        assert_ne!(called("call_1").id(), called("call_2").id());
        let turn_id = TurnId::generate();
        let sent = |message_length| Event::MessageSent { turn_id, message_length };
        assert_eq!(sent(1).id(), sent(2).id());
    }

    #[test]
    fn an_event_is_counted_for_its_user_or_its_session() {
        let session = SessionId::generate();
        let event = Event::MessageSent { turn_id: TurnId::generate(), message_length: 4 };
        let of = |user| Occurrence { event: event.clone(), session, user, at: Utc::now() }.distinct_id();
        assert_eq!(of(UserId::parse("ann")), "ann");
        assert_eq!(of(None), format!("anonymous_{session}"));
    }
}
