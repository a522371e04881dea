//! JSON bodies, read strictly: bounded, of the right type, each mistake with its field's name.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::http::{StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;

use crate::problem::{Code, FieldError, Loc, Problem};

/// The longest body of an ordinary route, in bytes.
pub const ORDINARY: usize = 1024 * 1024;

/// How deep arrays and objects may nest; as deep as serde_json goes by itself.
const DEPTH: usize = 128;

/// How much of a body that is too large is read and dropped: a client that is still sending would
/// otherwise see a broken connection instead of the answer.
pub const DRAIN: usize = 64 * 1024 * 1024;

/// A JSON body.
pub struct JsonBody<T>(pub T);

/// A JSON body that may be left out.
pub struct OptionalJsonBody<T>(pub T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(json_request(T::schema_ref(), true))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = read(request, body, ORDINARY).await?;
        Ok(Self(parse(&bytes)?))
    }
}

impl<'a, T: Type + DeserializeOwned + Default> ApiExtractor<'a> for OptionalJsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(json_request(T::schema_ref(), false))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = read_optional(request, body, ORDINARY).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { Ok(Self(parse(&bytes)?)) }
    }
}

/// The document's entry of a JSON body.
pub fn json_request(schema: MetaSchemaRef, required: bool) -> MetaRequest {
    MetaRequest {
        description: None,
        content: vec![MetaMediaType { content_type: "application/json", schema }],
        required,
    }
}

/// Reads a JSON body of at most `limit` bytes.
pub async fn read(request: &Request, body: &mut RequestBody, limit: usize) -> Result<Bytes, Problem> {
    let bytes = read_optional(request, body, limit).await?;
    if bytes.is_empty() {
        return Err(Problem::invalid(FieldError::in_body("", "missing", "Field required")));
    }
    Ok(bytes)
}

async fn read_optional(request: &Request, body: &mut RequestBody, limit: usize) -> Result<Bytes, Problem> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let Ok(body) = body.take() else { return Ok(Bytes::new()) };
    let bytes = collect(body, limit, declared.unwrap_or(0)).await?;
    if !bytes.is_empty() && !is_json(request) {
        let detail = "The body must be application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UnsupportedMediaType, detail));
    }
    Ok(bytes)
}

fn is_json(request: &Request) -> bool {
    let essence = request.content_type().and_then(|full| full.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.to_ascii_lowercase().starts_with("application/") && essence.to_ascii_lowercase().ends_with("+json"))
}

async fn collect(body: poem::Body, limit: usize, declared: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_bytes_stream();
    let mut kept = BytesMut::with_capacity(declared.min(limit).min(ORDINARY));
    let mut seen = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, Code::InvalidJson, "The body broke off."))?;
        seen = seen.saturating_add(chunk.len());
        if seen <= limit {
            kept.extend_from_slice(&chunk);
        } else if declared.max(seen) > DRAIN {
            break;
        }
    }
    if seen > limit {
        let detail = format!("The body must not be larger than {limit} bytes.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, detail));
    }
    Ok(kept.freeze())
}

/// Reads a value; a body that is no JSON at all is another mistake than a field of a wrong type.
pub fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    let text = check_syntax(bytes)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read: Result<Object<T>, _> = serde_path_to_error::deserialize(&mut json);
    read.map(|read| read.0).map_err(|error| {
        let path = error.path().iter().filter_map(step).collect();
        refuse(path, &error.into_inner())
    })
}

fn step(segment: &Segment) -> Option<Loc> {
    match segment {
        Segment::Seq { index } => Some(Loc::Index(u64::try_from(*index).unwrap_or(u64::MAX))),
        Segment::Map { key } | Segment::Enum { variant: key } => Some(Loc::Name(key.clone())),
        Segment::Unknown => None,
    }
}

/// A value whose fields have names: serde also takes an array for a struct, by the order of its fields,
/// which nobody is to rely on.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

fn check_syntax(bytes: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| broken("it is not UTF-8"))?;
    if nests_too_deep(bytes) {
        return Err(broken("it is nested too deep"));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| broken(&error.to_string()))?;
    Ok(text)
}

fn broken(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::InvalidJson, format!("The body is not valid JSON: {why}."))
}

/// serde_json walks over ignored values without recursion, and so without a bound of its own.
fn nests_too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn refuse(mut path: Vec<Loc>, error: &serde_json::Error) -> Problem {
    let full = error.to_string();
    let reason: String = full.split(" at line ").next().unwrap_or_default().chars().take(300).collect();
    if let Some(name) = reason.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        path.push(Loc::Name(name.to_owned()));
        return Problem::invalid(FieldError::on_the_way(path, "missing", "Field required"));
    }
    // The whole text is JSON, as was checked: what the parser calls a mistake of syntax is a value
    // that cannot stand in this place, such as a number for a word of a list.
    if error.is_syntax() {
        return Problem::invalid(FieldError::on_the_way(path, "type_error", reason));
    }
    let kind = if reason.starts_with("invalid type") { "type_error" } else { "value_error" };
    Problem::invalid(FieldError::on_the_way(path, kind, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only read into")]
    struct Inner {
        name: String,
        count: u32,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "the fields are only read into")]
    struct Outer {
        inner: Inner,
    }

    fn refusal(text: &str) -> (StatusCode, Code, String) {
        let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
        (problem.status(), problem.code(), format!("{problem:?}"))
    }

    #[test]
    fn what_is_no_json_is_400() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["{", "", "nope", "{\"inner\":}", "[1,]", &deep] {
            let (status, code, _) = refusal(text);
            assert_eq!((status, code), (StatusCode::BAD_REQUEST, Code::InvalidJson), "{text:.20}");
        }
    }

    #[test]
    fn a_wrong_field_is_422_with_its_name() {
        for (text, field) in [
            (r#"{"inner":{"name":5,"count":1}}"#, "name"),
            (r#"{"inner":{"name":"n","count":1e400}}"#, "count"),
            (r#"{"inner":{"name":"n","count":-1}}"#, "count"),
            (r#"{"inner":{"name":"n"}}"#, "count"),
            ("{}", "inner"),
        ] {
            let (status, _, shown) = refusal(text);
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
            assert!(shown.contains(&format!("{field:?}")), "{shown}");
        }
    }

    #[test]
    fn an_array_is_no_object_and_a_place_in_one_is_a_number() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "the fields are only read into")]
        struct Lists {
            inner: Option<Object<Inner>>,
            names: Vec<String>,
        }
        for text in [r#"[null,["a"]]"#, r#"{"inner":["n",1],"names":[]}"#, r#"{"names":["a",5]}"#] {
            let problem = parse::<Lists>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        }
        let shown = format!("{:?}", parse::<Lists>(br#"{"names":["a",5]}"#).unwrap_err());
        assert!(shown.contains(r#"Name("names"), Index(1)"#), "{shown}");
        assert!(parse::<Lists>(br#"{"inner":{"name":"n","count":1},"names":[]}"#).is_ok());
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert!(!nests_too_deep(format!("\"\\\"{}\"", "[".repeat(500)).as_bytes()));
    }
}
