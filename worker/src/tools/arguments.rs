//! Reads a call's arguments, or tells the model what is wrong with them: which field, and what was
//! expected.

use copilot_shared::tool::ToolAnswer;
use jsonschema::Validator;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Problems that are named at most.
const MAX_PROBLEMS: usize = 5;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    field: String,
    expected: String,
}

/// Arguments that do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit(Vec<Problem>);

impl Misfit {
    fn whole(expected: &str) -> Self {
        Self(vec![Problem { field: String::new(), expected: expected.into() }])
    }

    /// The answer to the model.
    pub(super) fn answer(&self, tool: &str) -> ToolAnswer {
        let sentences: Vec<String> = self
            .0
            .iter()
            .map(|problem| match problem.field.as_str() {
                "" => problem.expected.clone(),
                field => format!("`{field}`: {}", problem.expected),
            })
            .collect();
        let message = format!("The arguments of {tool} do not fit. {}.", sentences.join("; "));
        let problems: Vec<Value> =
            self.0.iter().map(|problem| json!({ "field": problem.field, "expected": problem.expected })).collect();
        let mut details = Map::new();
        details.insert("problems".into(), problems.into());
        ToolAnswer::error_with("invalid_arguments", message, details)
    }
}

/// The arguments, if they fit the schema.
pub(super) fn read<T: DeserializeOwned>(validator: &Validator, required: &[String], input: Value) -> Result<T, Misfit> {
    let Value::Object(mut fields) = input else { return Err(Misfit::whole("They must be one JSON object")) };
    // Models say null for what they leave out.
    fields.retain(|name, value| !value.is_null() || required.contains(name));
    let input = Value::Object(fields);
    let problems: Vec<Problem> = validator
        .iter_errors(&input)
        .take(MAX_PROBLEMS)
        // Masked: a wrong value can be long, and the model knows it anyway.
        .map(|error| Problem { field: dotted(error.instance_path().as_str()), expected: error.masked().to_string() })
        .collect();
    if !problems.is_empty() {
        return Err(Misfit(problems));
    }
    // What a schema cannot say, the type does.
    serde_path_to_error::deserialize(&input).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Misfit(vec![Problem { field, expected: error.into_inner().to_string() }])
    })
}

/// `/a/0/b` as models write it: `a.0.b`.
fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::schema;
    use schemars::JsonSchema;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Arguments {
        /// A name.
        #[schemars(length(min = 1, max = 5))]
        name: String,
        /// A limit.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// An id.
        id: Option<uuid::Uuid>,
    }

    fn arguments(input: Value) -> Result<Arguments, Misfit> {
        let schema = schema::of::<Arguments>();
        read(&jsonschema::validator_for(&schema).unwrap(), &schema::strings(schema.get("required")), input)
    }

    fn message(input: Value) -> String {
        arguments(input).unwrap_err().answer("look").message
    }

    #[test]
    fn null_is_as_good_as_nothing_but_not_for_what_is_needed() {
        let fits = arguments(json!({"name": "a", "limit": null})).unwrap();
        assert_eq!(fits, Arguments { name: "a".into(), limit: None, id: None });
        assert!(message(json!({"name": null})).contains("`name`: value is not of type \"string\""));
    }

    #[test]
    fn the_model_is_told_the_field_and_what_was_expected() {
        assert_eq!(message(json!("{\"name\":")), "The arguments of look do not fit. They must be one JSON object.");
        assert!(message(json!({})).contains("\"name\" is a required property"));
        assert!(
            message(json!({"name": "a", "limit": 101})).contains("`limit`: value is greater than the maximum of 100")
        );
        assert!(message(json!({"name": "", "nmae": 1})).contains("nmae"));
        let late = arguments(json!({"name": "a", "id": "x"})).unwrap_err().answer("look");
        assert!(late.message.contains("`id`"), "{}", late.message);
        assert!(late.to_json().contains(r#""field":"id""#));
    }
}
