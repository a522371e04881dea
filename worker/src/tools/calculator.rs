//! `calculator`: arithmetic that a language model had better not do in its head.

use copilot_shared::tool::plain::Calculation;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Number;

use super::{Access, Tool, ToolContext, ToolFailure};

/// Evaluates an expression.
pub(super) struct Calculator;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The expression.
    // Longer expressions are no question of arithmetic.
    #[schemars(length(min = 1, max = 1000))]
    expression: String,
}

impl Tool for Calculator {
    type Arguments = Arguments;
    const NAME: &'static str = "calculator";
    const DESCRIPTION: &'static str = "Evaluates an arithmetic expression exactly as written, for example 12*(3+4)^2. \
        Knows + - * / ^, brackets, sin, cos, tan, sqrt, ln, log10, exp, abs, floor, ceil, round, PI and E.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, _: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let Arguments { expression } = arguments;
        let result = value(&expression)?;
        let message = format!("{expression} = {result}");
        Ok(ToolAnswer::new(message, ToolResponse::Calculation(Calculation { expression, result })))
    }
}

fn value(expression: &str) -> Result<Number, ToolFailure> {
    let result = exmex::eval_str::<f64>(expression)
        .map_err(|error| ToolFailure::new(format!("The expression cannot be evaluated: {error}.")))?;
    // A whole number without a fraction, as people write it.
    let whole = result.to_string().parse::<i64>().ok().map(Number::from);
    whole.or_else(|| Number::from_f64(result)).ok_or_else(|| ToolFailure::new("The result is not a finite number."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_values_and_nonsense_has_none() {
        assert_eq!(value("12*(3+4)").unwrap(), Number::from(84));
        assert_eq!(value("1/4").unwrap(), Number::from_f64(0.25).unwrap());
        assert!(format!("{:?}", value("6*")).contains("cannot be evaluated"));
        assert!(format!("{:?}", value("1/0")).contains("finite"));
    }
}
