//! The OpenAPI document: what the framework emits, put right where it is wrong.

use serde_json::{Map, Value, json};

use crate::tool_responses;

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

/// The document as pretty JSON.
pub fn document() -> Result<String, DocumentError> {
    let mut document: Value = serde_json::from_str(&crate::routes::service().spec())?;
    let root = document.as_object_mut().ok_or(DocumentError::Lacks("root"))?;
    // The framework says 3.0.0; it emits nothing that the corrections of 3.0.3 forbid.
    root.insert("openapi".into(), json!("3.0.3"));
    root.insert("servers".into(), json!([{ "url": "/" }]));
    for_each_object(&mut document, &bare_media_types);
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    tool_responses::add_schemas(schemas.ok_or(DocumentError::Lacks("schemas"))?).map_err(DocumentError::Twice)?;
    Ok(serde_json::to_string_pretty(&document)?)
}

/// Generators take a media type with a charset for another one.
fn bare_media_types(object: &mut Map<String, Value>) {
    let full = "application/json; charset=utf-8";
    if let Some(media) = object.remove(full) {
        object.insert("application/json".into(), media);
    }
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
