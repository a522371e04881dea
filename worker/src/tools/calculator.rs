//! `calculator`: arithmetic that a language model had better not do in its head.

use copilot_shared::tool::{Repeat, ToolSpec};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolContext, arguments};

/// Evaluates an expression.
pub(super) struct Calculator;

#[derive(Deserialize)]
struct Arguments {
    expression: String,
}

/// Longer expressions are no question of arithmetic.
const MAX_CHARS: usize = 1_000;

impl Tool for Calculator {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "calculator".into(),
            description: "Evaluates an arithmetic expression exactly as written, for example 12*(3+4)^2. \
                          Knows + - * / ^, brackets, sin, cos, tan, sqrt, ln, log10, exp, abs, floor, ceil, round, PI and E."
                .into(),
            parameters: json!({
                "type": "object",
                "properties": { "expression": { "type": "string", "description": "The expression." } },
                "required": ["expression"],
                "additionalProperties": false,
            }),
        }
    }

    fn repeat(&self) -> Repeat {
        Repeat::Safe
    }

    fn call(&self, _context: ToolContext, input: Value) -> BoxFuture<'static, Result<Value, String>> {
        Box::pin(std::future::ready(calculate(input)))
    }
}

fn calculate(input: Value) -> Result<Value, String> {
    let Arguments { expression } = arguments(input)?;
    if expression.len() > MAX_CHARS {
        return Err(format!("The expression is longer than {MAX_CHARS} characters."));
    }
    let result =
        exmex::eval_str::<f64>(&expression).map_err(|error| format!("The expression cannot be evaluated: {error}."))?;
    if !result.is_finite() {
        return Err("The result is not a finite number.".into());
    }
    Ok(json!({ "expression": expression, "result": number(result) }))
}

/// A whole number without a fraction, as people write it.
fn number(result: f64) -> Value {
    let text = result.to_string();
    text.parse::<i64>().map_or_else(|_| json!(result), |whole| json!(whole))
}
