//! The JSON schema of a tool's arguments, as models understand it best.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of `T`: everything in place, closed, and without what only other programs read.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    if let Value::Object(root) = &mut schema {
        root.remove("title");
        root.remove("description");
        root.entry("properties").or_insert_with(|| Map::new().into());
        root.entry("additionalProperties").or_insert(false.into());
    }
    simplify(&mut schema);
    schema
}

/// Absent and null mean the same in arguments, so no schema says so again and again.
fn simplify(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    let required: Vec<String> = strings(schema.get("required"));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            if !required.contains(name) {
                without_null(property);
            }
            if let Value::Object(property) = property {
                property.remove("format");
            }
            simplify(property);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        simplify(items);
    }
}

fn without_null(property: &mut Value) {
    let Value::Object(property) = property else { return };
    if property.get("default").is_some_and(Value::is_null) {
        property.remove("default");
    }
    if let Some(Value::Array(values)) = property.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            property.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(options)) = property.get_mut("anyOf") {
        options.retain(|option| option.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            property.remove("anyOf");
            for (key, value) in only {
                property.entry(key).or_insert(value);
            }
        }
    }
}

/// The names of an array of strings.
pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(dead_code, reason = "only their schemas matter")]

    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }

    /// Not shown.
    #[derive(Deserialize, JsonSchema)]
    struct Arguments {
        /// A number.
        #[schemars(range(min = 1, max = 9))]
        number: i64,
        /// A colour.
        colour: Option<Colour>,
        /// Names.
        #[serde(default)]
        names: Vec<String>,
        /// A limit.
        limit: Option<u32>,
        /// Anything.
        object: Option<Map<String, Value>>,
    }

    #[test]
    fn a_schema_is_flat_and_closed_and_says_nothing_twice() {
        assert_eq!(
            of::<Arguments>(),
            json!({
                "type": "object",
                "properties": {
                    "number": {"type": "integer", "minimum": 1, "maximum": 9, "description": "A number."},
                    "colour": {"type": "string", "enum": ["red", "blue"], "description": "A colour."},
                    "names": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Names."},
                    "limit": {"type": "integer", "minimum": 0, "description": "A limit."},
                    "object": {"type": "object", "additionalProperties": true, "description": "Anything."},
                },
                "required": ["number"],
                "additionalProperties": false,
            })
        );
    }
}
