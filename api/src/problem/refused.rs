//! The errors of an operation: a problem, and the statuses that the document promises.

use std::marker::PhantomData;

use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;

use super::{Conflict, Fault, Problem, Unprocessable};

/// The error statuses of an operation.
pub trait Statuses: Send + Sync + 'static {
    /// In ascending order.
    const STATUSES: &'static [u16];

    /// The schema of a status whose body is not the usual one.
    fn schema(_status: u16) -> Option<MetaSchemaRef> {
        None
    }

    /// Registers what [`Self::schema`] names.
    fn register(_registry: &mut Registry) {}
}

/// An error of an operation whose document lists the statuses of `S`.
pub struct Refused<S>(Problem, PhantomData<fn() -> S>);

impl<S, E: Into<Problem>> From<E> for Refused<S> {
    fn from(error: E) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<S> From<Refused<S>> for poem::Error {
    fn from(refused: Refused<S>) -> Self {
        refused.0.into()
    }
}

impl<S: Send> IntoResponse for Refused<S> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl<S: Statuses> ApiResponse for Refused<S> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: S::STATUSES.iter().copied().map(response::<S>).collect() }
    }

    fn register(registry: &mut Registry) {
        Fault::register(registry);
        Conflict::register(registry);
        Unprocessable::register(registry);
        S::register(registry);
    }
}

fn response<S: Statuses>(status: u16) -> MetaResponse {
    MetaResponse {
        description: description(status),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: "application/json",
            schema: S::schema(status).unwrap_or_else(|| schema(status)),
        }],
        headers: headers(status),
    }
}

fn schema(status: u16) -> MetaSchemaRef {
    match status {
        409 => Conflict::schema_ref(),
        422 => Unprocessable::schema_ref(),
        _ => Fault::schema_ref(),
    }
}

fn headers(status: u16) -> Vec<MetaHeader> {
    let retry_after = || MetaHeader {
        name: "Retry-After".into(),
        description: Some("After how many seconds the request may succeed".into()),
        required: true,
        deprecated: false,
        schema: u64::schema_ref(),
    };
    if matches!(status, 429 | 503) { vec![retry_after()] } else { Vec::new() }
}

fn description(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read",
        401 => "There is no valid token",
        402 => "The caller cannot pay",
        403 => "The caller may not do this",
        404 => "There is no such thing of the caller",
        408 => "The body did not come any further",
        409 => "The state of the session or the stream stands in the way",
        410 => "The stream is not stored any more",
        413 => "The body is too large",
        415 => "The body has the wrong type",
        416 => "The range is no part of the file",
        422 => "A field is not as it must be",
        429 => "Too much at once",
        500 => "A mistake of ours",
        501 => "The operation exists for its schema alone",
        503 => "A server that we depend on is away for the moment",
        _ => "An error",
    }
}
