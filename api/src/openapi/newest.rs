//! The document in OpenAPI 3.2: its schemas are JSON Schema 2020-12, and an event stream is a sequence
//! of items with a schema of their own.

use serde_json::{Map, Value, json};

use super::{DocumentError, for_each_object};

/// Makes a document of 3.2 out of one of 3.0.
pub(super) fn upgrade(document: &mut Value) -> Result<(), DocumentError> {
    for_each_object(document, &null_is_a_type);
    for_each_object(document, &examples_are_a_list);
    for_each_object(document, &streams_have_items);
    let root = document.as_object_mut().ok_or(DocumentError::Lacks("root"))?;
    root.insert("openapi".into(), json!("3.2.0"));
    Ok(())
}

fn null_is_a_type(object: &mut Map<String, Value>) {
    if object.get("nullable") != Some(&json!(true)) || !object.contains_key("type") {
        return;
    }
    object.remove("nullable");
    if let Some(all) = object.remove("allOf") {
        object.remove("type");
        let null = json!({ "type": "null" });
        let options = all.as_array().into_iter().flatten().cloned().chain([null]).collect();
        object.insert("anyOf".into(), Value::Array(options));
    } else if let Some(kind) = object.remove("type") {
        object.insert("type".into(), json!([kind, "null"]));
        if let Some(Value::Array(words)) = object.get_mut("enum") {
            words.push(Value::Null);
        }
    }
}

/// Of schemas. The examples of media types and parameters are others, and there are none.
fn examples_are_a_list(object: &mut Map<String, Value>) {
    let is_schema = ["type", "anyOf", "allOf"].iter().any(|name| object.contains_key(*name));
    if is_schema && let Some(example) = object.remove("example") {
        object.insert("examples".into(), json!([example]));
    }
}

/// An event as its parser gives it (OpenAPI 3.2.0, Server-Sent Events).
fn streams_have_items(content: &mut Map<String, Value>) {
    let Some(media) = content.get_mut("text/event-stream").and_then(Value::as_object_mut) else { return };
    let Some(chunk) = media.remove("schema") else { return };
    media.insert(
        "itemSchema".into(),
        json!({
            "type": "object",
            "description": "An event. The data of the last one of an ended turn is the word `[DONE]`.",
            "properties": {
                "id": { "type": "string", "description": "The cursor `<turn_id>:<sequence>`, where there is one" },
                "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": chunk },
                "retry": { "type": "integer", "minimum": 0, "description": "Milliseconds until the client comes back" },
            },
            "required": ["data"],
        }),
    );
}
