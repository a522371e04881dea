//! The stored fold: where a late client's replay begins.

use bytes::Bytes;

use crate::fold::Fold;

/// The version of the format; another one is as good as no snapshot.
const VERSION: &[u8] = b"1\n";

/// Writes a fold down.
pub(super) fn encode(fold: &Fold) -> Bytes {
    let mut out = VERSION.to_vec();
    // A fold has string keys only, so it always serialises.
    let json = serde_json::to_writer(&mut out, fold);
    debug_assert!(json.is_ok());
    out.into()
}

/// Reads a fold back; `None` if it is of another version. The chunks are then read from the start.
pub(super) fn decode(stored: &[u8]) -> Option<Fold> {
    let json = stored.strip_prefix(VERSION)?;
    serde_json::from_slice(json).inspect_err(|error| tracing::warn!(%error, "a snapshot cannot be read")).ok()
}

impl Fold {
    /// The fold as a snapshot for [`super::Append`].
    pub fn to_snapshot(&self) -> Bytes {
        encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunk;
    use crate::id::{PartId, ToolCallId, TurnId};

    /// A snapshot as the first release wrote it.
    const FIRST_RELEASE: &str = "1\n{\"sequence\":7,\"start\":\"01a20f01-2615-751f-80aa-9d3c371f469e\",\"items\":[\"StepStart\",\
        {\"Text\":{\"id\":\"p1\",\"text\":\"let me see\",\"open\":false}},{\"Tool\":{\"id\":\"call_1\",\"name\":\"t\",\
        \"input\":{\"Streaming\":\"{\\\"a\\\":\"},\"output\":null}}],\"step_open\":true,\"parts\":1,\"status\":null,\
        \"usage\":null,\"error\":null,\"end\":null";

    fn fold() -> Fold {
        let mut fold = Fold::default();
        let turn: TurnId = "01a20f01-2615-751f-80aa-9d3c371f469e".parse().unwrap();
        let (text, call) = (PartId::nth(1), ToolCallId("call_1".into()));
        for chunk in [
            Chunk::Start { message_id: turn },
            Chunk::StartStep,
            Chunk::TextStart { id: text.clone() },
            Chunk::TextDelta { id: text.clone(), delta: "let me see".into() },
            Chunk::TextEnd { id: text },
            Chunk::ToolInputStart { tool_call_id: call.clone(), tool_name: "t".into(), provider_executed: true },
            Chunk::ToolInputDelta { tool_call_id: call, input_text_delta: "{\"a\":".into() },
        ] {
            fold.apply(chunk);
            fold.sequence += 1;
        }
        fold
    }

    #[test]
    fn what_the_first_release_wrote_is_read() {
        let fold = fold();
        for rest in ["}", ",\"later\":{\"x\":1}}"] {
            assert_eq!(decode(format!("{FIRST_RELEASE}{rest}").as_bytes()).as_ref(), Some(&fold));
        }
        assert_eq!(decode(&encode(&fold)), Some(fold));
    }

    #[test]
    fn what_a_newer_version_wrote_is_as_good_as_no_snapshot() {
        for unknown in ["2\n{}", "1\n{\"items\":[{\"Hologram\":{}}]}", "", "1"] {
            assert_eq!(decode(unknown.as_bytes()), None, "{unknown}");
        }
    }
}
