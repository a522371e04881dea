//! Event streams as responses.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::chunk::HEARTBEAT_FRAME;
use futures_util::StreamExt;
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use rand::Rng;
use tokio_util::sync::CancellationToken;

use crate::chunks::StreamChunk;
use crate::relay::Frames;

/// How long a stream that cannot be served yet is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(9);
/// After how long clients come back, in milliseconds: spread, so that a restart is no stampede.
const RETRY_MS: std::ops::Range<u32> = 500..3_000;

/// A stream of chunks. Its schema is that of one event's data.
pub struct EventStream(pub Frames);

impl Payload for EventStream {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        StreamChunk::schema_ref()
    }

    fn register(registry: &mut Registry) {
        StreamChunk::register(registry);
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(Self::CONTENT_TYPE)
            .header("cache-control", "no-cache")
            .header("connection", "keep-alive")
            .header("x-accel-buffering", "no")
            .header("x-vercel-ai-ui-message-stream", "v1")
            .body(Body::from_bytes_stream(self.0))
    }
}

/// What became of a stream that was held open.
pub enum Held {
    /// It can be served.
    Served(Frames),
    /// It never will be: the client must ask again, and gets the answer as a status.
    Refused(&'static str),
}

/// Keeps a stream open with heartbeats until it is decided what is in it.
pub fn held_open(decided: impl Future<Output = Held> + Send + 'static, stop: CancellationToken) -> Frames {
    Box::pin(async_stream::stream! {
        yield Ok(opening());
        let mut decided = Box::pin(decided);
        let mut heartbeats = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        let held = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Held::Refused("shutting down"),
                held = &mut decided => break held,
                _ = heartbeats.tick() => yield Ok(Bytes::from_static(HEARTBEAT_FRAME)),
            }
        };
        match held {
            Held::Served(mut frames) => {
                while let Some(frame) = frames.next().await {
                    yield frame;
                }
            }
            Held::Refused(why) => yield Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
        }
    })
}

fn opening() -> Bytes {
    format!("retry: {}\n: heartbeat\n\n", rand::rng().random_range(RETRY_MS)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_held_stream_speaks_until_it_is_served() {
        let later = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Held::Served(Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(b"data: 1\n\n"))])))
        };
        let frames: Vec<_> = held_open(later, CancellationToken::new()).map(Result::unwrap).collect().await;
        assert!(frames[0].starts_with(b"retry: "));
        assert_eq!(&frames[1..], [HEARTBEAT_FRAME, HEARTBEAT_FRAME, b"data: 1\n\n"]);
    }

    #[tokio::test]
    async fn a_held_stream_that_is_refused_is_cut() {
        let frames: Vec<_> = held_open(async { Held::Refused("no") }, CancellationToken::new()).collect().await;
        assert!(frames.last().unwrap().is_err());
    }
}
