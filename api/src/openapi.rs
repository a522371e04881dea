//! The OpenAPI document: what the framework emits, put right where it is wrong.

use serde_json::{Map, Value, json};

use crate::auth::ACT_AS_HEADER;
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

/// The document as pretty JSON.
pub fn document() -> Result<String, DocumentError> {
    let mut document: Value = serde_json::from_str(&crate::routes::service().spec())?;
    let root = document.as_object_mut().ok_or(DocumentError::Lacks("root"))?;
    // The framework says 3.0.0; it emits nothing that the corrections of 3.0.3 forbid.
    root.insert("openapi".into(), json!("3.0.3"));
    root.insert("servers".into(), json!([{ "url": "/" }]));
    offer_impersonation(root);
    for_each_object(&mut document, &bare_media_types);
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    tool_responses::add_schemas(schemas.ok_or(DocumentError::Lacks("schemas"))?).map_err(DocumentError::Twice)?;
    Ok(serde_json::to_string_pretty(&document)?)
}

/// Admins may act as a user wherever a token is taken, but for the admins' own routes. It is said
/// here for all operations, so that none can be forgotten.
fn offer_impersonation(root: &mut Map<String, Value>) {
    let Some(paths) = root.get_mut("paths").and_then(Value::as_object_mut) else { return };
    let of_users = paths.iter_mut().filter(|(path, _)| !path.starts_with(ADMIN_PREFIX));
    let operations = of_users.filter_map(|(_, methods)| methods.as_object_mut()).flat_map(Map::values_mut);
    for operation in operations.filter(|operation| operation.get("security").is_some()) {
        if let Some(parameters) = entry(operation, "parameters", json!([])).and_then(Value::as_array_mut) {
            parameters.push(json!({ "$ref": "#/components/parameters/ActAsUserId" }));
        }
        if let Some(responses) = entry(operation, "responses", json!({})).and_then(Value::as_object_mut) {
            responses.entry("403").or_insert_with(|| {
                let schema = json!({ "$ref": "#/components/schemas/Error" });
                let content = json!({ "application/json": { "schema": schema } });
                json!({ "description": "The caller may not do this", "content": content })
            });
        }
    }
    let parameter = json!({
        "name": ACT_AS_HEADER,
        "in": "header",
        "required": false,
        "description": "For admins: the user in whose name the request is made. Every use is written down.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
    });
    let parameters = root.get_mut("components").and_then(|components| entry(components, "parameters", json!({})));
    if let Some(parameters) = parameters.and_then(Value::as_object_mut) {
        parameters.insert("ActAsUserId".into(), parameter);
    }
}

fn entry<'a>(object: &'a mut Value, name: &str, otherwise: Value) -> Option<&'a mut Value> {
    object.as_object_mut().map(|object| object.entry(name).or_insert(otherwise))
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
