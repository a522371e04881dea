//! Reads the beginning of a body: bounded in size after decompression, and in time.

use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use futures_util::TryStreamExt;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::time::{Instant, timeout_at};
use tokio_util::io::StreamReader;

/// What comes over the wire for one body at most, compressed: some compress to next to nothing.
const MAX_WIRE_BYTES: u64 = 8 * 1024 * 1024;

/// The beginning of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Was there more?
    pub is_cut: bool,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Compressed in a way that nobody asked for.
    #[error("The answer is compressed in an unknown way.")]
    Encoding,
    /// It ended before it began.
    #[error("The answer broke off.")]
    Broken(#[source] std::io::Error),
    /// Nothing came in time.
    #[error("The answer did not come in time.")]
    Late,
}

/// Reads at most `limit` bytes, until `deadline`. What has come by then, or until the connection
/// broke, counts as cut.
pub async fn beginning(response: Response, limit: usize, deadline: Instant) -> Result<Beginning, BodyError> {
    let mut body = decoded(response)?.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1));
    let mut bytes = Vec::new();
    let end = timeout_at(deadline, body.read_to_end(&mut bytes)).await;
    let is_cut = match end {
        Ok(Ok(_)) => bytes.len() > limit,
        Ok(Err(error)) if bytes.is_empty() => return Err(BodyError::Broken(error)),
        Err(_) if bytes.is_empty() => return Err(BodyError::Late),
        Ok(Err(_)) | Err(_) => true,
    };
    bytes.truncate(limit);
    Ok(Beginning { bytes, is_cut })
}

/// The body without its compression.
fn decoded(response: Response) -> Result<Pin<Box<dyn AsyncRead + Send>>, BodyError> {
    let encoding = response.headers().get(CONTENT_ENCODING).map_or(Some("identity"), |value| value.to_str().ok());
    let encoding = encoding.ok_or(BodyError::Encoding)?.trim().to_ascii_lowercase();
    let wire = StreamReader::new(response.bytes_stream().map_err(std::io::Error::other));
    let wire = BufReader::new(wire.take(MAX_WIRE_BYTES));
    Ok(match encoding.as_str() {
        "" | "identity" => Box::pin(wire),
        "gzip" | "x-gzip" => Box::pin(GzipDecoder::new(wire)),
        "deflate" => Box::pin(ZlibDecoder::new(wire)),
        "br" => Box::pin(BrotliDecoder::new(wire)),
        _ => return Err(BodyError::Encoding),
    })
}
