//! The OpenAPI document: what the framework emits, put right where it is wrong.

use serde_json::{Map, Value};

mod corrections;
mod impersonation;
mod newest;
mod variants;

use crate::tool_responses;

/// Where the admins' own routes live.
const ADMIN_PREFIX: &str = "/api/copilot/admin";

/// The document cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The framework emitted no JSON.
    #[error("the OpenAPI document is no JSON")]
    Json(#[from] serde_json::Error),
    /// The framework emitted something else than a document.
    #[error("the OpenAPI document has no {0}")]
    Lacks(&'static str),
    /// Two schemas want one name.
    #[error("the OpenAPI document has two schemas called {0}")]
    Twice(String),
}

/// The document as pretty JSON, in the version that every generator reads.
pub fn document() -> Result<String, DocumentError> {
    Ok(serde_json::to_string_pretty(&corrected()?)?)
}

/// The document in OpenAPI 3.2, which knows event streams, as pretty JSON.
pub fn newest_document() -> Result<String, DocumentError> {
    let mut document = corrected()?;
    newest::upgrade(&mut document)?;
    Ok(serde_json::to_string_pretty(&document)?)
}

fn corrected() -> Result<Value, DocumentError> {
    let mut document: Value = serde_json::from_str(&crate::routes::service().spec())?;
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    tool_responses::add_schemas(schemas.ok_or(DocumentError::Lacks("schemas"))?).map_err(DocumentError::Twice)?;
    impersonation::offer(document.as_object_mut().ok_or(DocumentError::Lacks("root"))?);
    variants::merge(&mut document)?;
    corrections::correct(&mut document)?;
    Ok(document)
}

fn for_each_object(value: &mut Value, change: &impl Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|value| for_each_object(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| for_each_object(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
