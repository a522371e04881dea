//! A form with a file: read piece by piece, never whole.

use std::time::Duration;

use multer::Multipart;
use poem::http::{StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{Binary, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::pieces::{BESIDE, PieceError, Pieces};
use crate::app::uploads::UploadUnderWay;
use crate::problem::{Code, FieldError, Problem};

/// The field that holds the file.
const FIELD: &str = "file";

/// How long a body may say nothing.
const SILENCE: Duration = Duration::from_mins(1);

/// A form that has not been read yet.
pub(super) struct Form {
    body: Pieces,
    boundary: String,
}

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
        let announced = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        Ok(Self { body: Pieces::of(body, announced), boundary })
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
    pub(super) async fn store<F>(
        mut self,
        begin: impl FnOnce(String, Option<String>) -> F,
    ) -> Result<UploadUnderWay, Problem>
    where
        F: Future<Output = Result<UploadUnderWay, Problem>>,
    {
        let stored = self.store_field(begin).await;
        // Who says nothing does not go on sending either.
        if stored.as_ref().is_err_and(|problem| problem.code() != Code::RequestTimeout) {
            self.body.drain().await;
        }
        stored
    }

    async fn store_field<F>(
        &mut self,
        begin: impl FnOnce(String, Option<String>) -> F,
    ) -> Result<UploadUnderWay, Problem>
    where
        F: Future<Output = Result<UploadUnderWay, Problem>>,
    {
        let beside = self.body.beside();
        let mut form = Multipart::new(&mut self.body, self.boundary.as_str());
        let mut field = loop {
            match heard(form.next_field()).await? {
                Some(field) if field.name() == Some(FIELD) => break field,
                Some(_) => {}
                None => return Err(Problem::invalid(FieldError::in_body(FIELD, "missing", "Field required"))),
            }
        };
        // Clients write a quote so (HTML, multipart/form-data encoding algorithm).
        let name = field.file_name().unwrap_or_default().replace("%22", "\"");
        let mime_type = field.content_type().map(|mime| mime.essence_str().to_owned());
        let mut upload = begin(name, mime_type).await?;
        while let Some(piece) = heard(field.chunk()).await? {
            beside.returned(piece.len());
            upload.write(piece).await?;
        }
        Ok(upload)
    }
}

/// What the parser finds, unless the body says nothing for too long.
async fn heard<T>(found: impl Future<Output = multer::Result<T>>) -> Result<T, Problem> {
    let Ok(found) = tokio::time::timeout(SILENCE, found).await else {
        let detail = format!("The body did not come any further for {} seconds.", SILENCE.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, Code::RequestTimeout, detail));
    };
    found.map_err(|error| unreadable(&error))
}

fn unreadable(error: &multer::Error) -> Problem {
    tracing::debug!(error = error as &dyn std::error::Error, "a form could not be read");
    if let multer::Error::StreamReadFailed(cause) = error
        && let Some(PieceError::TooMuchBeside) = cause.downcast_ref()
    {
        let detail = format!("The form must not have more than {BESIDE} bytes beside its file.");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, detail);
    }
    broken("it is malformed, or broke off")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use poem::Body;

    use super::*;

    /// What becomes of a body that is this, and then silent.
    async fn refusal(begun: &'static str) -> Problem {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(begun.as_bytes()))]);
        let body = Body::from_bytes_stream(begun.chain(stream::pending()));
        let form = Form { body: Pieces::of(body, None), boundary: "cut".into() };
        let stored = form.store(|_, _| async { Err(broken("nobody is asked")) });
        let began = tokio::time::Instant::now();
        let problem = stored.await.expect_err("it is silent");
        assert_eq!(began.elapsed().as_secs(), SILENCE.as_secs(), "{problem:?}");
        problem
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_says_nothing_is_given_up() {
        for begun in ["", "--cut\r\nContent-Disposition: form-data; name=\"fi"] {
            let problem = refusal(begun).await;
            assert_eq!((problem.status(), problem.code()), (StatusCode::REQUEST_TIMEOUT, Code::RequestTimeout));
        }
    }
}
