//! Message bodies: versioned JSON. Fields are only ever added, with defaults, and unknown ones
//! are ignored, so that two versions can share the queues.

use serde::{Deserialize, Serialize};

use crate::id::TurnId;

/// "This turn may be run."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTurn {
    /// The version of the body.
    #[serde(default = "first_version")]
    pub v: u32,
    /// The turn.
    pub turn_id: TurnId,
}

/// "Stop this turn." By turn and not by session, so that a late one cannot hit the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelTurn {
    /// The version of the body.
    #[serde(default = "first_version")]
    pub v: u32,
    /// The turn.
    pub turn_id: TurnId,
}

/// A body that nobody can read.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be read")]
pub struct MessageError {
    /// The turn that it names all the same.
    pub turn_id: Option<TurnId>,
    #[source]
    source: serde_json::Error,
}

fn first_version() -> u32 {
    1
}

impl RunTurn {
    /// The message of a turn.
    pub fn new(turn_id: TurnId) -> Self {
        Self { v: first_version(), turn_id }
    }

    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        serde_json::from_slice(body).map_err(|source| MessageError { turn_id: named_turn(body), source })
    }
}

impl CancelTurn {
    /// The message of a turn.
    pub fn new(turn_id: TurnId) -> Self {
        Self { v: first_version(), turn_id }
    }

    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        serde_json::from_slice(body).map_err(|source| MessageError { turn_id: named_turn(body), source })
    }
}

/// The turn that a body names, as far as it can be read.
pub(super) fn turn_in(body: &[u8]) -> Option<TurnId> {
    RunTurn::parse(body).map_or_else(|error| error.turn_id, |message| Some(message.turn_id))
}

/// The turn that an otherwise unreadable body names, so that it can be closed.
fn named_turn(body: &[u8]) -> Option<TurnId> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("\"turn_id\"")?;
    let id: String = rest.chars().skip_while(|c| !c.is_ascii_hexdigit()).take(36).collect();
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_bodies_decode() {
        let id = TurnId::generate();
        for body in [
            format!(r#"{{"turn_id":"{id}"}}"#),
            format!(r#"{{"v":1,"turn_id":"{id}"}}"#),
            format!(r#"{{"v":7,"turn_id":"{id}","later":{{"x":1}}}}"#),
        ] {
            assert_eq!(RunTurn::parse(body.as_bytes()).unwrap().turn_id, id);
            assert_eq!(CancelTurn::parse(body.as_bytes()).unwrap().turn_id, id);
        }
    }

    #[test]
    fn an_unreadable_body_still_names_its_turn() {
        let id = TurnId::generate();
        let error = RunTurn::parse(format!(r#"{{"v":"x","turn_id": "{id}""#).as_bytes()).unwrap_err();
        assert_eq!(error.turn_id, Some(id));
        assert_eq!(RunTurn::parse(b"\xff\x00").unwrap_err().turn_id, None);
    }
}
