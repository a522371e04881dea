//! Stops a model that makes the same broken call again and again (`usage-tools.md` §8.6). Each
//! attempt has its own.

use std::collections::HashMap;

use copilot_shared::tool::ToolAnswer;
use serde_json::Value;

/// After so many failures in a row the same call is not made again.
const MAX_FAILURES: u32 = 3;

/// After so many model calls in a row with a call that lacks all its arguments the turn ends.
const MAX_EMPTY_STEPS: u32 = 3;

/// What went wrong so far.
#[derive(Debug, Default)]
pub struct Breaker {
    /// By tool, then by the arguments as text.
    failures: HashMap<String, HashMap<String, u32>>,
    empty_steps: u32,
}

impl Breaker {
    /// The answer to a call that has failed too often to be made again.
    pub fn refusal(&self, tool: &str, input: &Value) -> Option<ToolAnswer> {
        let failures = self.failures.get(tool)?.get(&input.to_string())?;
        (*failures >= MAX_FAILURES).then(|| {
            let message = format!(
                "STOP. {tool} has failed {failures} times in a row with exactly these arguments and was not called again. \
                 Do not repeat this call: use other arguments or another way, or tell the user what does not work."
            );
            ToolAnswer::error("repeated_failure", message)
        })
    }

    /// A call failed.
    pub fn failed(&mut self, tool: &str, input: &Value) {
        *self.failures.entry(tool.to_owned()).or_default().entry(input.to_string()).or_default() += 1;
    }

    /// A call did not fail, which clears its tool.
    pub fn succeeded(&mut self, tool: &str) {
        self.failures.remove(tool);
    }

    /// A model call asked for tools, at least one of them without any of the arguments that it
    /// needs, or none so. Is it time to give up?
    pub fn gives_up(&mut self, lacks_arguments: bool) -> bool {
        self.empty_steps = if lacks_arguments { self.empty_steps + 1 } else { 0 };
        self.empty_steps >= MAX_EMPTY_STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fourth_call_is_refused_and_others_are_not() {
        let mut breaker = Breaker::default();
        let (same, other) = (json!({"a": 1}), json!({"a": 2}));
        for _ in 0..3 {
            assert!(breaker.refusal("t", &same).is_none());
            breaker.failed("t", &same);
        }
        assert!(breaker.refusal("t", &same).unwrap().message.starts_with("STOP"));
        assert!(breaker.refusal("t", &other).is_none());
        assert!(breaker.refusal("u", &same).is_none());
        breaker.succeeded("t");
        assert!(breaker.refusal("t", &same).is_none());
    }

    #[test]
    fn three_empty_steps_in_a_row_are_enough() {
        let mut breaker = Breaker::default();
        assert!(!breaker.gives_up(true));
        assert!(!breaker.gives_up(true));
        assert!(!breaker.gives_up(false));
        assert!(!breaker.gives_up(true));
        assert!(!breaker.gives_up(true));
        assert!(breaker.gives_up(true));
    }
}
