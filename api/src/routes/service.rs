//! Health, settings, and schemas for code generation. No token is needed.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use crate::app::App;
use crate::chunks::StreamChunk;
use crate::problem::{Code, Problem, Refused, Statuses};
use crate::tool_responses::DocumentedToolResponse;

pub(super) struct ServiceRoutes;

/// How long streams are kept.
#[derive(Debug, Object)]
pub(super) struct StreamTtlResponse {
    /// Seconds that an ended turn's stream stays replayable.
    stream_ttl_seconds: u64,
    /// The same in milliseconds.
    stream_ttl_ms: u64,
}

/// All is well.
#[derive(Debug, Object)]
pub(super) struct HealthResponse {
    /// `healthy`.
    status: String,
    /// `chat`.
    service: String,
    version: String,
}

pub(super) struct Open;
impl Statuses for Open {
    const STATUSES: &'static [u16] = &[500];
}

pub(super) struct Healthy;
impl Statuses for Healthy {
    const STATUSES: &'static [u16] = &[500, 503];
}

pub(super) struct SchemaOnly;
impl Statuses for SchemaOnly {
    const STATUSES: &'static [u16] = &[501];
}

#[expect(clippy::unused_async, reason = "an operation is an async method")]
#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Service")]
impl ServiceRoutes {
    /// How long streams are kept
    ///
    /// A client that comes back later than that reads the session instead.
    #[oai(path = "/config/ttl", method = "get", operation_id = "get_ttl_config")]
    async fn ttl(&self, Data(app): Data<&Arc<App>>) -> Result<Json<StreamTtlResponse>, Refused<Open>> {
        let ttl = app.stream_ttl();
        let stream_ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Ok(Json(StreamTtlResponse { stream_ttl_seconds: ttl.as_secs(), stream_ttl_ms }))
    }

    /// Is everything there?
    ///
    /// Writes and reads through every server; leaves nothing behind.
    #[oai(path = "/health", method = "get", operation_id = "get_health")]
    async fn health(&self, Data(app): Data<&Arc<App>>) -> Result<Json<HealthResponse>, Refused<Healthy>> {
        Box::pin(app.check_health()).await?;
        Ok(Json(HealthResponse {
            status: "healthy".into(),
            service: "chat".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }))
    }

    /// Schemas of tool outputs, for code generation
    ///
    /// It answers 501 whoever asks.
    #[oai(path = "/schema/tool-responses", method = "get", operation_id = "get_tool_responses_schema")]
    async fn tool_responses(&self) -> Result<Json<DocumentedToolResponse>, Refused<SchemaOnly>> {
        Err(schema_only().into())
    }

    /// Schemas of chunks, for code generation
    ///
    /// It answers 501 whoever asks.
    #[oai(path = "/schema/stream-chunks", method = "get", operation_id = "get_stream_chunks_schema")]
    async fn stream_chunks(&self) -> Result<Json<StreamChunk>, Refused<SchemaOnly>> {
        Err(schema_only().into())
    }
}

fn schema_only() -> Problem {
    Problem::new(StatusCode::NOT_IMPLEMENTED, Code::NotImplemented, "Schema-only endpoint")
}
