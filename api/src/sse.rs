//! Event streams as responses.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::chunk::HEARTBEAT_FRAME;
use futures_util::StreamExt;
use poem::http::{HeaderValue, StatusCode};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;

use crate::chunks::UiMessageChunk;
use crate::problem::Problem;
use crate::relay::Frames;

/// A turn's event stream, or 204 where there is none to follow.
pub enum EventStream {
    /// 200.
    Frames(Frames),
    /// 204.
    Nothing,
}

/// What every event stream says of itself (`spec/stream.md`, Wire).
const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-cache"),
    ("connection", "keep-alive"),
    ("x-accel-buffering", "no"),
    ("x-vercel-ai-ui-message-stream", "v1"),
];

/// How long to wait before a server that is away is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Every how many pauses a heartbeat is due.
const PAUSES_PER_HEARTBEAT: u32 = 8;

/// Opens a stream, and holds the connection open with heartbeats while a server of ours is away:
/// an `EventSource` never comes back after any status but 200. Nothing is revealed meanwhile; what
/// is then refused is cut.
pub async fn held_open<F, Fut>(open: F) -> Result<EventStream, Problem>
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = Result<EventStream, Problem>> + Send,
{
    match open().await {
        Err(problem) if problem.is(StatusCode::SERVICE_UNAVAILABLE) => {}
        answer => return answer,
    }
    let frames = async_stream::stream! {
        yield Ok(Bytes::from_static(HEARTBEAT_FRAME));
        let mut pauses: u32 = 0;
        loop {
            tokio::time::sleep(PAUSE).await;
            pauses = pauses.wrapping_add(1);
            match open().await {
                Ok(EventStream::Frames(mut frames)) => {
                    while let Some(frame) = frames.next().await {
                        yield frame;
                    }
                    return;
                }
                Err(problem) if problem.is(StatusCode::SERVICE_UNAVAILABLE) => {
                    if pauses.is_multiple_of(PAUSES_PER_HEARTBEAT) {
                        yield Ok(Bytes::from_static(HEARTBEAT_FRAME));
                    }
                }
                // The client asks again, and then gets the status that this cannot give any more.
                Ok(EventStream::Nothing) | Err(_) => {
                    yield Err(io::Error::new(io::ErrorKind::ConnectionAborted, "nothing to follow"));
                    return;
                }
            }
        }
    };
    Ok(EventStream::Frames(Box::pin(frames)))
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        match self {
            Self::Nothing => Response::builder().status(StatusCode::NO_CONTENT).finish(),
            Self::Frames(frames) => {
                let body = Body::from_bytes_stream(frames);
                let mut response = Response::builder().content_type("text/event-stream").body(body);
                for (name, value) in HEADERS {
                    response.headers_mut().insert(name, HeaderValue::from_static(value));
                }
                response
            }
        }
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        let headers = HEADERS.iter().filter(|(name, _)| *name != "connection").map(|(name, value)| header(name, value));
        let frames = MetaResponse {
            description: "The chunks of the turn, one event each: `id: <turn_id>:<sequence>`, `data: <chunk>`. The last \
                          event of a turn that has ended is `data: [DONE]`.",
            status: Some(200),
            status_range: None,
            content: vec![MetaMediaType { content_type: "text/event-stream", schema: UiMessageChunk::schema_ref() }],
            headers: headers.collect(),
        };
        let nothing = MetaResponse {
            description: "There is nothing to follow, or the cursor is the end",
            status: Some(204),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![frames, nothing] }
    }

    fn register(registry: &mut Registry) {
        UiMessageChunk::register(registry);
    }
}

fn header(name: &str, value: &str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(format!("`{value}`")),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(String::schema_ref().unwrap_inline().clone())),
    }
}
