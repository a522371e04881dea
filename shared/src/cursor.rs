//! A client's place in a turn's stream.

use std::fmt;
use std::str::FromStr;

use crate::id::TurnId;

/// `<turn_id>:<sequence>`: everything up to and including that chunk was received. Sequence 0
/// means nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The turn.
    pub turn_id: TurnId,
    /// The last sequence number that was received.
    pub sequence: u64,
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is <turn_id>:<sequence>")]
pub struct MalformedCursor;

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (turn, sequence) = text.split_once(':').ok_or(MalformedCursor)?;
        let digits = !sequence.is_empty() && sequence.len() <= 15 && sequence.bytes().all(|b| b.is_ascii_digit());
        // Only the hyphenated form: two spellings of one cursor would be two cursors to a client.
        if !digits || turn.len() != 36 {
            return Err(MalformedCursor);
        }
        Ok(Self {
            turn_id: turn.parse().map_err(|_| MalformedCursor)?,
            sequence: sequence.parse().map_err(|_| MalformedCursor)?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.turn_id, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let cursor = Cursor { turn_id: TurnId::generate(), sequence: 42 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let turn = TurnId::generate();
        for bad in [
            "",
            "x",
            ":",
            "1:1",
            &format!("{turn}"),
            &format!("{turn}:"),
            &format!("{turn}:-1"),
            &format!("{turn}:+1"),
            &format!("{turn}:1e3"),
            &format!("{turn}:99999999999999999999"),
            &format!("{turn}:1:2"),
            &format!("{}:1", turn.0.simple()),
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(MalformedCursor), "{bad}");
        }
    }
}
