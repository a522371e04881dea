//! The variants of unions that are told apart by a constant. The framework writes each as two schemas,
//! the constant and the rest; generators make a type of the two that no value has where the rest is
//! empty, and two names for one thing everywhere else.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{DocumentError, for_each_object};

const PREFIX: &str = "#/components/schemas/";

/// Makes each variant one schema, with the name of the rest.
pub(super) fn merge(document: &mut Value) -> Result<(), DocumentError> {
    let uses = count_references(document);
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    let schemas = schemas.ok_or(DocumentError::Lacks("schemas"))?;
    let mut renamed = HashMap::new();
    let names: Vec<String> = schemas.keys().cloned().collect();
    for variant in names {
        let Some((constant, rest)) = schemas.get(&variant).and_then(parts_of) else { continue };
        let Some(merged) = schemas.get(&rest).and_then(Value::as_object).map(|rest| join(rest, &constant)) else {
            continue;
        };
        // A schema that is also used without the constant keeps its name for that.
        if uses.get(&rest) == Some(&1) {
            schemas.remove(&variant);
            schemas.insert(rest.clone(), merged);
            renamed.insert(format!("{PREFIX}{variant}"), format!("{PREFIX}{rest}"));
        } else {
            schemas.insert(variant, merged);
        }
    }
    for_each_object(document, &|object| rename(object, &renamed));
    Ok(())
}

fn count_references(document: &mut Value) -> HashMap<String, usize> {
    let uses = std::cell::RefCell::new(HashMap::new());
    for_each_object(document, &|object| {
        if let Some(name) = object.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(PREFIX)) {
            *uses.borrow_mut().entry(name.to_owned()).or_insert(0) += 1;
        }
    });
    uses.into_inner()
}

/// The property that is constant, and the name of the rest.
fn parts_of(schema: &Value) -> Option<(Map<String, Value>, String)> {
    let [constant, rest] = schema.get("allOf")?.as_array()?.as_slice() else { return None };
    let properties = constant.get("properties")?.as_object()?;
    let (_, only) = properties.iter().next().filter(|_| properties.len() == 1)?;
    let is_constant = only.get("enum")?.as_array()?.len() == 1;
    let rest = rest.get("$ref")?.as_str()?.strip_prefix(PREFIX)?;
    is_constant.then(|| (properties.clone(), rest.to_owned()))
}

fn join(rest: &Map<String, Value>, constant: &Map<String, Value>) -> Value {
    let mut merged = rest.clone();
    let properties = merged.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(constant.clone());
    }
    let required = merged.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.retain(|name| name.as_str().is_none_or(|name| !constant.contains_key(name)));
        required.splice(0..0, constant.keys().map(|name| json!(name)));
    }
    Value::Object(merged)
}

/// References, and the mappings of discriminators, which are references as well.
fn rename(object: &mut Map<String, Value>, renamed: &HashMap<String, String>) {
    for value in object.values_mut() {
        if let Some(name) = value.as_str().and_then(|name| renamed.get(name)) {
            *value = json!(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn union() -> Value {
        let variant = |word: &str, rest: &str| {
            json!({ "allOf": [
                { "type": "object", "required": ["type"], "properties": { "type": { "type": "string", "enum": [word] } } },
                { "$ref": format!("{PREFIX}{rest}") },
            ] })
        };
        json!({ "components": { "schemas": {
            "U": { "oneOf": [{ "$ref": format!("{PREFIX}U_A") }, { "$ref": format!("{PREFIX}U_B") }],
                   "discriminator": { "mapping": { "a": format!("{PREFIX}U_A"), "b": format!("{PREFIX}U_B") } } },
            "U_A": variant("a", "A"),
            "U_B": variant("b", "B"),
            "A": { "type": "object" },
            "B": { "type": "object", "required": ["x"], "properties": { "x": { "type": "string" } } },
            "C": { "allOf": [{ "$ref": format!("{PREFIX}B") }] },
        } } })
    }

    #[test]
    fn a_variant_is_one_schema_with_its_constant() {
        let mut document = union();
        merge(&mut document).unwrap();
        let schemas = &document["components"]["schemas"];
        let constant = json!({ "type": "string", "enum": ["a"] });
        assert_eq!(schemas["A"], json!({ "type": "object", "properties": { "type": constant }, "required": ["type"] }));
        assert!(schemas.get("U_A").is_none());
        assert_eq!(schemas["U"]["oneOf"][0]["$ref"], format!("{PREFIX}A"));
        assert_eq!(schemas["U"]["discriminator"]["mapping"]["a"], format!("{PREFIX}A"));
    }

    #[test]
    fn a_schema_that_others_use_stays_as_it_is() {
        let mut document = union();
        merge(&mut document).unwrap();
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["B"]["required"], json!(["x"]));
        assert_eq!(schemas["U_B"]["required"], json!(["type", "x"]));
        assert_eq!(schemas["U"]["oneOf"][1]["$ref"], format!("{PREFIX}U_B"));
    }
}
