//! Settings, health, and schemas for code generators.

use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::Tag;
use super::model::{HealthResponse, TtlResponse};
use crate::app::App;
use crate::chunks::UiMessageChunk;
use crate::problem::{Failure, Problem, SchemaOnly, Unhealthy};

/// The group.
#[derive(Debug)]
pub struct System;

#[OpenApi(prefix_path = "/api/chat")]
impl System {
    /// How long an ended turn stays replayable
    #[oai(path = "/config/ttl", method = "get", operation_id = "get_ttl_config", tag = "Tag::System")]
    async fn ttl(&self, app: Data<&App>) -> Json<TtlResponse> {
        let seconds = app.settings.stream_ttl.as_secs();
        Json(TtlResponse { stream_ttl_seconds: seconds, stream_ttl_ms: seconds.saturating_mul(1000) })
    }

    /// Is every part able to do its work?
    #[oai(path = "/health", method = "get", operation_id = "get_health", tag = "Tag::System")]
    async fn health(&self, app: Data<&App>) -> Result<Json<HealthResponse>, Failure<Unhealthy>> {
        let down = app.check_health().await;
        if !down.is_empty() {
            let sentence = format!("Down: {}.", down.join(", "));
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", sentence).retry_after(5).into());
        }
        Ok(Json(HealthResponse {
            status: "healthy".into(),
            service: "chat".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }))
    }

    /// The tools' responses, for code generators
    #[oai(
        path = "/schema/tool-responses",
        method = "get",
        operation_id = "get_tool_response_schema",
        tag = "Tag::System"
    )]
    async fn tool_responses(&self) -> Result<(), Failure<SchemaOnly>> {
        Err(schema_only().into())
    }

    /// The chunks of a stream, for code generators
    #[oai(
        path = "/schema/stream-chunks",
        method = "get",
        operation_id = "get_stream_chunk_schema",
        tag = "Tag::System"
    )]
    async fn stream_chunks(&self) -> Result<Json<UiMessageChunk>, Failure<SchemaOnly>> {
        Err(schema_only().into())
    }
}

fn schema_only() -> Problem {
    Problem::new(StatusCode::NOT_IMPLEMENTED, "schema_only", "Schema-only endpoint")
}
