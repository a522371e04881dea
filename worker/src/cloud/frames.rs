//! The streams of the Connect protocol: frames of one byte of flags, a length, and JSON. The last
//! one says how the stream ended.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CloudError;

/// `envd` sends no more at once than 32 KiB of output, which is longer in base64.
const MAX_BYTES: usize = 4 << 20;

const COMPRESSED: u8 = 0b01;
const LAST: u8 = 0b10;

/// A request, as a stream has it.
pub(super) fn enveloped(body: &serde_json::Value) -> Bytes {
    let body = body.to_string();
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.put_u8(0);
    // A command is far shorter than this can say.
    frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    frame.put_slice(body.as_bytes());
    frame.freeze()
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    flags: u8,
    body: Bytes,
}

/// Takes a frame off what has come, if a whole one has.
fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, CloudError> {
    let mut head = &**buffer;
    let (Ok(flags), Ok(length)) = (head.try_get_u8(), head.try_get_u32()) else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_BYTES {
        return Err(CloudError::Nonsense("a frame is too long"));
    }
    if head.len() < length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(Frame { flags, body: buffer.split_to(length).freeze() }))
}

/// The last frame.
#[derive(Deserialize)]
struct End {
    error: Option<Problem>,
}

/// What a server says that is wrong. Its message is for people, and not kept.
#[derive(Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) code: serde_json::Value,
    #[serde(default)]
    pub(super) message: String,
}

impl Problem {
    /// As an error, with the status that goes with it.
    pub(super) fn into_error(self, status: reqwest::StatusCode) -> CloudError {
        // What stands before `envd` says so when it finds no sandbox.
        if self.message.contains("was not found") && status == reqwest::StatusCode::BAD_GATEWAY {
            return CloudError::Gone;
        }
        CloudError::Refused { status, code: self.code.as_str().map(str::to_owned) }
    }
}

/// What a server says, message by message.
pub(super) struct Frames {
    source: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: BytesMut,
}

impl Frames {
    pub(super) fn of(response: reqwest::Response) -> Self {
        Self { source: response.bytes_stream().boxed(), buffer: BytesMut::new() }
    }

    /// The next message; `None` at the end. What is waited for is not lost if this is dropped.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CloudError> {
        loop {
            if let Some(frame) = take(&mut self.buffer)? {
                return read(&frame);
            }
            match self.source.next().await {
                Some(bytes) => self.buffer.extend_from_slice(&bytes?),
                None => return Err(CloudError::Nonsense("a stream was cut")),
            }
        }
    }
}

fn read<T: DeserializeOwned>(frame: &Frame) -> Result<Option<T>, CloudError> {
    if frame.flags & COMPRESSED != 0 {
        return Err(CloudError::Nonsense("a frame is compressed, which nobody asked for"));
    }
    let broken = |_| CloudError::Nonsense("a frame is no message");
    if frame.flags & LAST == 0 {
        return serde_json::from_slice(&frame.body).map(Some).map_err(broken);
    }
    let end: End = serde_json::from_slice(&frame.body).map_err(broken)?;
    match end.error {
        None => Ok(None),
        Some(problem) => Err(problem.into_error(reqwest::StatusCode::OK)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn frame(flags: u8, body: &str) -> Vec<u8> {
        let mut frame = vec![flags];
        frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend(body.bytes());
        frame
    }

    fn frames(pieces: Vec<Vec<u8>>) -> Frames {
        let source = stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from(piece)))).boxed();
        Frames { source, buffer: BytesMut::new() }
    }

    #[tokio::test]
    async fn a_stream_says_how_it_ended() {
        let mut whole = frames(vec![frame(0, "{\"a\":1}"), frame(LAST, "{}")]);
        assert_eq!(whole.next::<Value>().await.unwrap(), Some(json!({"a": 1})));
        assert_eq!(whole.next::<Value>().await.unwrap(), None);

        let mut failed = frames(vec![frame(LAST, r#"{"error":{"code":"not_found","message":"secret"}}"#)]);
        let error = failed.next::<Value>().await.unwrap_err();
        assert!(matches!(&error, CloudError::Refused { code: Some(code), .. } if code == "not_found"), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"));

        let mut cut = frames(vec![frame(0, "{\"a\":1}")[..6].to_vec()]);
        assert!(matches!(cut.next::<Value>().await, Err(CloudError::Nonsense("a stream was cut"))));
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        for bytes in
            [frame(COMPRESSED, "{}"), frame(0, "nonsense"), vec![0, 255, 255, 255, 255, b'{'], frame(LAST, "[")]
        {
            assert!(matches!(frames(vec![bytes]).next::<Value>().await, Err(CloudError::Nonsense(_))));
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(texts in prop::collection::vec(".{0,40}", 0..5), size in 1_usize..9) {
            let mut bytes: Vec<u8> = texts.iter().flat_map(|text| enveloped(&json!(text))).collect();
            bytes.extend(frame(LAST, "{}"));
            let mut read = frames(bytes.chunks(size).map(<[u8]>::to_vec).collect());
            let all = async {
                let mut all = Vec::new();
                while let Some(text) = read.next::<String>().await.unwrap() {
                    all.push(text);
                }
                all
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(runtime.block_on(all), texts);
        }
    }
}
