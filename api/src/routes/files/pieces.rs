//! The body of an upload in small pieces, each of them accounted for.
//!
//! The parser of forms keeps whatever it has not understood yet, without a bound of its own: what
//! precedes the first boundary, the headers of a field. So what is given to it, and does not come
//! back as a piece of the file, is counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use poem::Body;

use crate::body::DRAIN;

/// The longest piece, in bytes: the parser holds two of them at most.
const PIECE: usize = 16 * 1024;

/// How much of a body may be no piece of the file, in bytes: boundaries, headers, other fields, and
/// what the parser holds.
pub(super) const BESIDE: usize = 64 * 1024;

/// How long a client that was refused may go on sending.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// Why the body gives no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    /// The connection broke.
    #[error("the body broke off")]
    BrokenOff(#[source] std::io::Error),
    /// Too much of it is no piece of the file.
    #[error("too much of the body is no piece of the file")]
    TooMuchBeside,
}

/// How many bytes were given, and did not come back as pieces of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside(Arc<AtomicUsize>);

impl Beside {
    /// A piece of the file came back.
    pub(super) fn returned(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn give(&self, bytes: usize) -> usize {
        self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }
}

/// A body in pieces.
pub(super) struct Pieces {
    body: BoxStream<'static, std::io::Result<Bytes>>,
    rest: Bytes,
    beside: Beside,
    pausing: bool,
    /// How much of the body is still to come, if its length was announced.
    announced: Option<usize>,
}

impl Pieces {
    /// The pieces of a body of `announced` bytes, if that is known.
    pub(super) fn of(body: Body, announced: Option<usize>) -> Self {
        let body = body.into_bytes_stream().boxed();
        Self { body, rest: Bytes::new(), beside: Beside::default(), pausing: false, announced }
    }

    /// The account of what was given.
    pub(super) fn beside(&self) -> Beside {
        self.beside.clone()
    }

    /// Reads on and drops what comes: a client that is still sending would otherwise see a broken
    /// connection instead of the answer. One that has far more to send is not waited for.
    pub(super) async fn drain(&mut self) {
        let drain = async {
            let mut dropped = 0;
            while self.announced.is_none_or(|left| dropped + left <= DRAIN)
                && dropped <= DRAIN
                && let Some(Ok(chunk)) = self.body.next().await
            {
                dropped += chunk.len();
                self.announced = self.announced.map(|left| left.saturating_sub(chunk.len()));
            }
        };
        if tokio::time::timeout(DRAIN_WITHIN, drain).await.is_err() {
            tracing::debug!("a client went on sending what was refused");
        }
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, PieceError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The parser reads as long as there is something at hand, and only then looks at it.
        if std::mem::replace(&mut self.pausing, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match std::task::ready!(self.body.poll_next_unpin(context)) {
                Some(Ok(chunk)) => {
                    self.announced = self.announced.map(|left| left.saturating_sub(chunk.len()));
                    self.rest = chunk;
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(PieceError::BrokenOff(error)))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        if self.beside.give(piece.len()) > BESIDE {
            return Poll::Ready(Some(Err(PieceError::TooMuchBeside)));
        }
        self.pausing = true;
        Poll::Ready(Some(Ok(piece)))
    }
}
