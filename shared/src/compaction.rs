//! That older messages were summed up, as clients see it: a tool call that nobody made
//! (`usage-tools.md` §8.4).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::chunk::Chunk;
use crate::id::ToolCallId;

/// The name under which clients see it.
pub const TOOL_NAME: &str = "context_compaction";

/// What its ids begin with. Those of real calls never do.
const PREFIX: &str = "compaction-";

/// What it answers.
pub const OUTPUT: &str = "Earlier messages were summarized to fit within context limits.";

/// A fresh id: the prefix and twelve hexadecimal digits.
pub fn new_id() -> ToolCallId {
    let digits = Uuid::new_v4().simple().to_string();
    ToolCallId(format!("{PREFIX}{}", digits.get(..12).unwrap_or(&digits)))
}

/// Is this the id of a compaction?
pub fn is_compaction(id: &ToolCallId) -> bool {
    id.as_str().starts_with(PREFIX)
}

/// It begins.
pub fn begun(id: &ToolCallId) -> Chunk {
    let tool_name = TOOL_NAME.to_owned();
    Chunk::ToolInputAvailable { tool_call_id: id.clone(), tool_name, input: json!({}), provider_executed: true }
}

/// It is done.
pub fn done(id: &ToolCallId) -> Chunk {
    let output = Value::String(OUTPUT.to_owned());
    Chunk::ToolOutputAvailable { tool_call_id: id.clone(), output, preliminary: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_ids_are_compactions() {
        assert!(is_compaction(&new_id()));
        assert_eq!(new_id().as_str().len(), PREFIX.len() + 12);
        assert!(!is_compaction(&ToolCallId::generate()));
    }
}
