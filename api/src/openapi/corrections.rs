//! What the framework leaves out of the document or says in a way that generators and linters refuse.

use serde_json::{Map, Value, json};

use super::{DocumentError, for_each_object};

/// Headers are named as they are written; the framework has them in capitals.
const HEADERS: [(&str, &str, &str); 5] = [
    ("CACHE-CONTROL", "Cache-Control", "`no-cache`: nobody keeps a stream"),
    ("X-ACCEL-BUFFERING", "X-Accel-Buffering", "`no`: no proxy holds chunks back"),
    ("X-VERCEL-AI-UI-MESSAGE-STREAM", "X-Vercel-AI-UI-Message-Stream", "`v1`: the dialect of the chunks"),
    ("X-HAS-MORE-MESSAGES", "X-Has-More-Messages", "With `format=ui`: there are older messages"),
    ("X-OLDEST-SEQUENCE", "X-Oldest-Sequence", "With `format=ui`: the `before_sequence` of the next page"),
];

/// What stands in a path.
const PATH_PARAMETERS: [(&str, &str); 4] =
    [("id", "The session"), ("turn_id", "The turn"), ("user_id", "The user"), ("letter_id", "The dead letter")];

/// Operations that need no token where anonymous sessions are allowed.
const OPEN_WHERE_ALLOWED: [&str; 1] = ["create_session"];

/// Puts a document of the framework right.
pub(super) fn correct(document: &mut Value) -> Result<(), DocumentError> {
    let root = document.as_object_mut().ok_or(DocumentError::Lacks("root"))?;
    // The framework says 3.0.0; it emits nothing that the corrections of 3.0.3 forbid.
    root.insert("openapi".into(), json!("3.0.3"));
    root.insert("servers".into(), json!([{ "url": "/", "description": "The server of this document" }]));
    for_each_object(document, &bare_media_types);
    for_each_object(document, &plain_numbers);
    let schemas = document.pointer("/components/schemas").cloned().ok_or(DocumentError::Lacks("schemas"))?;
    for_each_object(document, &null_is_a_word);
    for_each_object(document, &choices_have_their_own_types);
    for_each_object(document, &|object| type_nullables(object, &schemas));
    add_shared_headers(document);
    let operations = document.get_mut("paths").and_then(Value::as_object_mut).ok_or(DocumentError::Lacks("paths"))?;
    for operation in operations.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        correct_operation(operation, &schemas);
    }
    Ok(())
}

/// Generators take a media type with a charset for another one.
fn bare_media_types(object: &mut Map<String, Value>) {
    let full = "application/json; charset=utf-8";
    if let Some(media) = object.remove(full) {
        object.insert("application/json".into(), media);
    }
}

/// Bounds of integers are integers, and formats are those of the registry.
fn plain_numbers(object: &mut Map<String, Value>) {
    if object.get("type").and_then(Value::as_str) != Some("integer") {
        return;
    }
    for bound in ["minimum", "maximum"] {
        if let Some(whole) = object.get(bound).and_then(Value::as_f64).filter(|number| number.fract() == 0.0) {
            #[expect(clippy::cast_possible_truncation, reason = "bounds are small")]
            object.insert(bound.into(), json!(whole as i64));
        }
    }
    let signed = match object.get("format").and_then(Value::as_str) {
        Some("uint64") => "int64",
        Some("uint32") => "int32",
        _ => return,
    };
    object.insert("format".into(), json!(signed));
    object.entry("minimum").or_insert(json!(0));
}

/// A value or null, written as a choice between the two: generators make nothing of its second half.
fn null_is_a_word(object: &mut Map<String, Value>) {
    let only_null =
        |choice: &Value| choice.get("enum").and_then(Value::as_array).is_some_and(|words| words == &[Value::Null]);
    let Some([value, null]) = object.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) else { return };
    if only_null(null) {
        let value = json!([value]);
        object.remove("anyOf");
        object.insert("allOf".into(), value);
        object.insert("nullable".into(), json!(true));
    }
}

/// The framework says of every union that it is an object, be it one of texts and lists.
fn choices_have_their_own_types(object: &mut Map<String, Value>) {
    if ["anyOf", "oneOf"].iter().any(|choice| object.contains_key(*choice)) {
        object.remove("type");
    }
}

/// `nullable` has a meaning only beside a `type` (OpenAPI 3.0.3, Schema Object).
fn type_nullables(object: &mut Map<String, Value>, schemas: &Value) {
    if object.get("nullable") != Some(&json!(true)) || object.contains_key("type") {
        return;
    }
    let referenced = object.get("allOf").and_then(|all| all.pointer("/0/$ref")).and_then(Value::as_str);
    let kind = referenced.and_then(|name| resolve(schemas, name)).and_then(|schema| schema.get("type"));
    match kind {
        Some(kind) => object.insert("type".into(), kind.clone()),
        // Whatever may be anything may be null.
        None => object.remove("nullable"),
    };
}

fn resolve<'a>(schemas: &'a Value, reference: &str) -> Option<&'a Value> {
    schemas.get(reference.strip_prefix("#/components/schemas/")?)
}

/// Headers that every answer has.
fn add_shared_headers(document: &mut Value) {
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert(
            "headers".into(),
            json!({ "RequestId": {
                "description": "The request's own `X-Request-Id`, or a fresh one. It is in the logs.",
                "required": true,
                "schema": { "type": "string" },
            }}),
        );
    }
}

fn correct_operation(operation: &mut Value, schemas: &Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    // Without a word the operation would need what the whole document needs.
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let is_open = OPEN_WHERE_ALLOWED.contains(&id);
    let security = operation.entry("security").or_insert_with(|| json!([]));
    if let Some(ways) = security.as_array_mut().filter(|_| is_open) {
        ways.push(json!({}));
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        describe_parameter(parameter);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    responses.entry("431").or_insert_with(|| {
        json!({
            "description": "The headers of the request are too large",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        })
    });
    for response in responses.values_mut().filter_map(Value::as_object_mut) {
        correct_response(response, schemas);
    }
}

fn describe_parameter(parameter: &mut Value) {
    let Some(parameter) = parameter.as_object_mut().filter(|parameter| !parameter.contains_key("description")) else {
        return;
    };
    let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
    let words = PATH_PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, words)| *words);
    if let Some(words) = words {
        parameter.insert("description".into(), json!(words));
    }
}

fn correct_response(response: &mut Map<String, Value>, schemas: &Value) {
    if response.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
        let body = response.get("content").and_then(|content| content.pointer("/application~1json/schema/$ref"));
        let words = body.and_then(Value::as_str).and_then(|name| resolve(schemas, name));
        let words = words.and_then(|schema| schema.get("description")).cloned().unwrap_or_else(|| json!("Done"));
        response.insert("description".into(), words);
    }
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    let Some(headers) = headers.as_object_mut() else { return };
    for (shouted, name, words) in HEADERS {
        if let Some(mut header) = headers.remove(shouted) {
            if let Some(header) = header.as_object_mut() {
                header.insert("description".into(), json!(words));
            }
            headers.insert(name.into(), header);
        }
    }
    headers.insert("X-Request-Id".into(), json!({ "$ref": "#/components/headers/RequestId" }));
}
