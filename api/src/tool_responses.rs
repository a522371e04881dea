//! The union of what tools answer, as the OpenAPI document describes it: made of the types that the
//! worker answers with ([`copilot_shared::tool`]), so that the two cannot differ.

use std::borrow::Cow;

use copilot_shared::tool::{ResponseSchema, ToolResponse};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The union's name among the schemas.
const NAME: &str = "ToolResponse";

/// What a tool answers: the JSON in the text of a `tool-output-available` chunk's `output`, and
/// where the call failed, in the `errorText` of `tool-output-error`. Long outputs and those of
/// calls that were stopped are no JSON.
#[derive(Debug)]
pub struct DocumentedToolResponse(Value);

impl Type for DocumentedToolResponse {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(NAME.into())
    }

    fn register(registry: &mut Registry) {
        // A place, which [`add_schemas`] fills: the registry cannot take schemas of another maker.
        registry.create_schema::<Self, _>(NAME.into(), |_| MetaSchema::new("object"));
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for DocumentedToolResponse {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}

impl ParseFromJSON for DocumentedToolResponse {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        value.map(Self).ok_or_else(ParseError::expected_input)
    }
}

/// Adds the union and all that it is made of. Returns a name that two schemas want.
pub(crate) fn add_schemas(schemas: &mut Map<String, Value>) -> Result<(), String> {
    let mut generator = SchemaSettings::openapi3().for_serialize().into_generator();
    let mut members = ToolResponse::schemas(&mut generator);
    for transform in generator.transforms_mut() {
        for member in &mut members {
            transform.transform(&mut member.fields);
        }
    }
    let mut union = Vec::new();
    let mut mapping = Map::new();
    for member in members {
        let reference = format!("#/components/schemas/{}", member.name);
        union.push(json!({ "$ref": reference }));
        mapping.insert(member.kind.into(), reference.into());
        insert(schemas, member.name, member_schema(member))?;
    }
    let union = json!({
        "description": "What a tool answers.",
        "oneOf": union,
        "discriminator": { "propertyName": "type", "mapping": mapping },
    });
    schemas.insert(NAME.into(), union);
    for (name, mut schema) in generator.take_definitions(true) {
        without_booleans(&mut schema);
        insert(schemas, &name, schema)?;
    }
    Ok(())
}

/// In OpenAPI 3.0 the schema of anything is `{}`, not `true`.
fn without_booleans(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("items") == Some(&Value::Bool(true)) {
                fields.insert("items".into(), json!({}));
            }
            fields.values_mut().for_each(without_booleans);
        }
        Value::Array(items) => items.iter_mut().for_each(without_booleans),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn insert(schemas: &mut Map<String, Value>, name: &str, schema: Value) -> Result<(), String> {
    match schemas.insert(name.to_owned(), schema) {
        None => Ok(()),
        Some(_) => Err(name.to_owned()),
    }
}

/// A member: the fields that every answer has, then its own.
fn member_schema(member: ResponseSchema) -> Value {
    let ResponseSchema { kind, description, fields, .. } = member;
    let mut schema = fields.to_value();
    without_booleans(&mut schema);
    let own = |schema: &mut Value, key: &str| schema.get_mut(key).map(Value::take).unwrap_or_default();
    let mut properties = Map::new();
    properties.insert("type".into(), json!({ "type": "string", "enum": [kind] }));
    properties.insert("message".into(), json!({ "type": "string", "description": "The answer in a sentence." }));
    let session = json!({ "type": "string", "format": "uuid", "nullable": true, "description": "The conversation." });
    properties.insert("session_id".into(), session);
    if let Value::Object(fields) = own(&mut schema, "properties") {
        properties.extend(fields);
    }
    let mut required = vec![json!("type"), json!("message"), json!("session_id")];
    if let Value::Array(fields) = own(&mut schema, "required") {
        required.extend(fields);
    }
    json!({ "type": "object", "description": description, "properties": properties, "required": required })
}
