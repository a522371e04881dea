//! A form with a file: read piece by piece, never whole.

use bytes::Bytes;
use copilot_shared::workspace::Upload;
use multer::{Field, Multipart};
use poem::http::{StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{Binary, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::body::DRAIN;
use crate::problem::{Code, FieldError, Problem};

/// The field that holds the file.
const FIELD: &str = "file";

/// A form that has not been read yet.
pub(super) struct Form(Multipart<'static>);

impl<'a> ApiExtractor<'a> for Form {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Binary::<Vec<u8>>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: "multipart/form-data", schema: schema() }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let boundary = boundary(request.header(header::CONTENT_TYPE).unwrap_or_default())?;
        let body = body.take().map_err(|_| broken("there is none"))?;
        Ok(Self(Multipart::new(body.into_bytes_stream(), boundary)))
    }
}

/// A form whose field `file` is the file.
fn schema() -> MetaSchemaRef {
    let file = MetaSchemaRef::Inline(Box::new(MetaSchema {
        description: Some("The file."),
        ..MetaSchema::new_with_format("string", "binary")
    }));
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        properties: vec![(FIELD, file)],
        required: vec![FIELD],
        ..MetaSchema::new("object")
    }))
}

fn boundary(content_type: &str) -> Result<String, Problem> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("multipart/form-data") {
        let detail = "The body must be multipart/form-data.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UnsupportedMediaType, detail));
    }
    multer::parse_boundary(content_type).map_err(|_| broken("it names no boundary"))
}

fn broken(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::InvalidMultipart, format!("The form cannot be read: {why}."))
}

impl Form {
    /// Stores the file, once `begin` has said where. It is not finished yet.
    pub(super) async fn store<F>(mut self, begin: impl FnOnce(String, Option<String>) -> F) -> Result<Upload, Problem>
    where
        F: Future<Output = Result<Upload, Problem>>,
    {
        let stored = self.store_field(begin).await;
        if stored.is_err() {
            self.drain().await;
        }
        stored
    }

    async fn store_field<F>(&mut self, begin: impl FnOnce(String, Option<String>) -> F) -> Result<Upload, Problem>
    where
        F: Future<Output = Result<Upload, Problem>>,
    {
        let mut field = loop {
            match self.0.next_field().await.map_err(|error| unreadable(&error))? {
                Some(field) if field.name() == Some(FIELD) => break field,
                Some(_) => {}
                None => return Err(Problem::invalid(FieldError::in_body(FIELD, "missing", "Field required"))),
            }
        };
        let name = field.file_name().unwrap_or_default().to_owned();
        let mime_type = field.content_type().map(|mime| mime.essence_str().to_owned());
        let mut upload = begin(name, mime_type).await?;
        while let Some(piece) = next(&mut field).await? {
            upload.write(piece).await?;
        }
        Ok(upload)
    }

    /// Reads on and drops what comes: a client that is still sending would otherwise see a broken
    /// connection instead of the answer.
    async fn drain(&mut self) {
        let mut dropped = 0;
        while let Ok(Some(mut field)) = self.0.next_field().await {
            while let Ok(Some(piece)) = field.chunk().await {
                dropped += piece.len();
                if dropped > DRAIN {
                    return;
                }
            }
        }
    }
}

async fn next(field: &mut Field<'static>) -> Result<Option<Bytes>, Problem> {
    field.chunk().await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &multer::Error) -> Problem {
    tracing::debug!(error = error as &dyn std::error::Error, "a form could not be read");
    broken("it is malformed, or broke off")
}
