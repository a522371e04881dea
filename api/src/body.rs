//! Request bodies: bounded, strict, and parsed only once the caller may know the answer.

use poem::http::{StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

use crate::problem::Problem;

/// The largest body of an ordinary request.
const MAX_BYTES: usize = 1 << 20;
/// The largest body of a submit: the AI SDK sends the whole conversation each time.
const MAX_CHAT_BYTES: usize = 32 << 20;

/// A JSON body that was received and is not parsed yet: a foreign session is 404 whatever its
/// body says.
#[derive(Debug)]
pub struct JsonBody<T> {
    bytes: Result<Vec<u8>, Problem>,
    schema: PhantomData<fn() -> T>,
}

/// A type that knows how large its body may be.
pub trait BodyLimit {
    /// The bound in bytes.
    const MAX_BYTES: usize = MAX_BYTES;
}

/// The bound of a submit.
pub const CHAT_BODY_BYTES: usize = MAX_CHAT_BYTES;

impl<T: DeserializeOwned> JsonBody<T> {
    /// Parses the body, or says which field is wrong.
    pub fn parse(self) -> Result<T, Problem> {
        parse(&self.bytes?)
    }

    /// Parses the body; none at all is as good as an empty one.
    pub fn parse_or_default(self) -> Result<T, Problem>
    where
        T: Default,
    {
        match self.bytes {
            Err(problem) if problem.is(StatusCode::UNSUPPORTED_MEDIA_TYPE) => Ok(T::default()),
            Err(problem) => Err(problem),
            Ok(bytes) if bytes.is_empty() => Ok(T::default()),
            Ok(bytes) => parse(&bytes),
        }
    }

    /// Looks at the body before it is used.
    pub fn peek(self) -> Result<Peeked<T>, Problem> {
        let bytes = self.bytes?;
        let request = parse(&bytes)?;
        Ok(Peeked { request, bytes })
    }
}

/// A body that was looked at.
#[derive(Debug)]
pub struct Peeked<T> {
    request: T,
    bytes: Vec<u8>,
}

impl<T> Peeked<T> {
    /// What it says.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// The body, to be used.
    pub fn into_body(self) -> JsonBody<T> {
        JsonBody { bytes: Ok(self.bytes), schema: PhantomData }
    }
}

/// Parses JSON strictly, or says which field is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at = error.path().to_string();
        let source = error.into_inner();
        match source.classify() {
            serde_json::error::Category::Data => field_problem(&at, &source),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => invalid_json(&source),
        }
    })?;
    json.end().map_err(|error| invalid_json(&error))?;
    Ok(parsed)
}

fn invalid_json(error: &serde_json::Error) -> Problem {
    let sentence = format!("The body is not valid JSON (line {}, column {}).", error.line(), error.column());
    Problem::new(StatusCode::BAD_REQUEST, "invalid_json", sentence)
}

fn field_problem(at: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    // serde_json appends its position, which means nothing to who sees the field's name.
    let msg = text.split(" at line ").next().unwrap_or_default().to_owned();
    let kind = if msg.starts_with("missing field") { "missing" } else { "type_error" };
    let missing = msg.split('`').nth(1).filter(|_| kind == "missing");
    let path = at.split(['.', '[', ']']).filter(|part| !part.is_empty() && *part != "?");
    let loc: Vec<&str> = std::iter::once("body").chain(path).chain(missing).collect();
    Problem::field(&loc, kind, msg.as_str())
}

impl<'a, T: Type + BodyLimit> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self { bytes: read(request, body, T::MAX_BYTES).await, schema: PhantomData })
    }
}

async fn read(request: &Request, body: &mut RequestBody, limit: usize) -> Result<Vec<u8>, Problem> {
    let is_json = request.content_type().is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    });
    if !is_json {
        let sentence = "The content type must be application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", sentence));
    }
    let announced = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let body = body.take().map_err(|error| Problem::internal(&error))?;
    match body.into_bytes_limit(limit).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(poem::error::ReadBodyError::PayloadTooLarge) => Err(too_large(limit)),
        Err(error) => {
            tracing::debug!(%error, "a body broke off");
            Err(Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", "The body broke off."))
        }
    }
}

fn too_large(limit: usize) -> Problem {
    let sentence = format!("The body is larger than {limit} bytes.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", sentence)
}

/// A string field without NUL, which no database of ours can hold.
pub fn no_nul(field: &str, text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(Problem::field(&["body", field], "value_error", "must not contain NUL characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use poem::IntoResponse;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Thing {
        #[serde(rename = "message")]
        _message: String,
    }

    fn status_and_text(problem: Problem) -> (u16, String) {
        let mut response = problem.into_response();
        let status = response.status().as_u16();
        let body = futures_util::FutureExt::now_or_never(response.take_body().into_string()).unwrap().unwrap();
        (status, body)
    }

    #[test]
    fn a_wrong_type_names_the_field() {
        for (json, loc) in [
            (r#"{"message": 5}"#, r#"["body","message"]"#),
            (r#"{"message": null}"#, r#"["body","message"]"#),
            ("{}", r#"["body","message"]"#),
            ("[]", r#"["body""#),
        ] {
            let (status, text) = status_and_text(parse::<Thing>(json.as_bytes()).unwrap_err());
            assert_eq!(status, 422, "{json}");
            assert!(text.contains(loc), "{json}: {text}");
        }
    }

    #[test]
    fn what_is_no_json_is_400() {
        let deep = "[".repeat(10_000);
        for json in ["", "{", r#"{"message":"x"} trailing"#, "\u{feff}{}", deep.as_str()] {
            let (status, text) = status_and_text(parse::<serde_json::Value>(json.as_bytes()).unwrap_err());
            assert_eq!(status, 400, "{text}");
            assert!(text.contains("invalid_json"));
        }
    }
}
