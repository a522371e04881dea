//! Acting as a user, wherever an operation takes a user's token.

use serde_json::{Map, Value, json};

use super::ADMIN_PREFIX;
use crate::auth::ACT_AS_HEADER;

/// Admins may act as a user wherever a token is taken, but for the admins' own routes. It is said
/// here for all operations, so that none can be forgotten.
pub(super) fn offer(root: &mut Map<String, Value>) {
    let Some(paths) = root.get_mut("paths").and_then(Value::as_object_mut) else { return };
    let of_users = paths.iter_mut().filter(|(path, _)| !path.starts_with(ADMIN_PREFIX));
    let operations = of_users.filter_map(|(_, methods)| methods.as_object_mut()).flat_map(Map::values_mut);
    for operation in operations.filter(|operation| operation.get("security").is_some()) {
        if let Some(parameters) = entry(operation, "parameters", json!([])).and_then(Value::as_array_mut) {
            parameters.push(json!({ "$ref": "#/components/parameters/ActAsUserId" }));
        }
        if let Some(responses) = entry(operation, "responses", json!({})).and_then(Value::as_object_mut) {
            responses.entry("403").or_insert_with(|| error("The caller may not do this", "Error"));
            responses.entry("422").or_insert_with(|| error("A field is not as it must be", "UnprocessableError"));
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

fn error(description: &str, schema: &str) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn entry<'a>(object: &'a mut Value, name: &str, otherwise: Value) -> Option<&'a mut Value> {
    object.as_object_mut().map(|object| object.entry(name).or_insert(otherwise))
}
