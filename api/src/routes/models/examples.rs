//! Examples for readers of the document.

use chrono::{DateTime, TimeDelta, Utc};
use poem_openapi::types::Example;
use uuid::{Uuid, uuid};

use super::{CancelSessionResponse, CreateSessionResponse, StreamTicketResponse, SubmitResponse, TurnRecord};
use super::{TurnStatus, Usage};

const SESSION: Uuid = uuid!("01a20f01-1c3a-7d5e-9f00-5b1c2d3e4f50");
const TURN: Uuid = uuid!("01a20f01-2615-751f-80aa-9d3c371f469e");

/// The moment when all examples happen, so many seconds later.
fn after(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_600) + TimeDelta::seconds(seconds)
}

impl Example for CreateSessionResponse {
    fn example() -> Self {
        Self { id: SESSION, created_at: after(0), user_id: Some("user-1".into()).into(), claim_token: None.into() }
    }
}

impl Example for StreamTicketResponse {
    fn example() -> Self {
        Self { ticket: "eyJhbGciOiJIUzI1NiJ9.eyJzZXNzaW9uIjoi….8kX0".into(), expires_at: after(60) }
    }
}

impl Example for SubmitResponse {
    fn example() -> Self {
        Self { turn_id: TURN, status: TurnStatus::Queued, position: 0 }
    }
}

impl Example for CancelSessionResponse {
    fn example() -> Self {
        Self { cancelled: true, reason: None.into() }
    }
}

impl Example for TurnRecord {
    fn example() -> Self {
        Self {
            id: TURN,
            status: TurnStatus::Completed,
            attempt: 1,
            created_at: after(1),
            started_at: Some(after(1)).into(),
            finished_at: Some(after(5)).into(),
            error_code: None.into(),
            error: None.into(),
            cancelled_by: None.into(),
            usage: Usage {
                prompt_tokens: 812,
                completion_tokens: 95,
                total_tokens: 907,
                cache_read_tokens: 0,
                cache_creation_tokens: 0,
                estimated: false,
            },
        }
    }
}
