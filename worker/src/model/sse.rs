//! Server-sent events as model providers send them, read in linear time and bounded memory.
//!
//! `eventsource-stream` scans an unfinished line from its start again with every segment and knows
//! no bound, so a provider that never ends a line could hold a worker's CPU and memory.

use bytes::{Buf, Bytes, BytesMut};

/// Why a body is no stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    /// One event is larger than allowed.
    #[error("an event is too large")]
    TooLarge,
    /// The body is something else: a web page, or JSON in one piece.
    #[error("the body is no event stream")]
    NotEvents,
}

/// Cuts a body into the data of its events. Names and ids are dropped: no provider needs them.
#[derive(Debug)]
pub(super) struct SseDecoder {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    /// A line ended with CR; an LF that follows belongs to it.
    after_cr: bool,
    data: Option<Bytes>,
    begun: bool,
    max_event: usize,
}

impl SseDecoder {
    /// A decoder that refuses events of more than `max_event` bytes.
    pub(super) fn new(max_event: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, after_cr: false, data: None, begun: false, max_event }
    }

    /// Takes the next segment of the body.
    pub(super) fn push(&mut self, segment: &[u8]) {
        self.buffer.extend_from_slice(segment);
    }

    /// The data of the next complete event.
    pub(super) fn next_event(&mut self) -> Result<Option<Bytes>, SseError> {
        while let Some(line) = self.take_line() {
            if !line.is_empty() {
                self.take_field(line)?;
            } else if let Some(data) = self.data.take() {
                return Ok(Some(data));
            }
        }
        let held = self.buffer.len() + self.data.as_ref().map_or(0, Bytes::len);
        if held > self.max_event { Err(SseError::TooLarge) } else { Ok(None) }
    }

    /// Checks what is left when the body ended. As the standard asks, an event without its blank
    /// line is none.
    pub(super) fn end(&self) -> Result<(), SseError> {
        if !self.begun && looks_foreign(&self.buffer) { Err(SseError::NotEvents) } else { Ok(()) }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
            }
        }
        let Some(found) = self.buffer.iter().skip(self.scanned).position(|&byte| byte == b'\n' || byte == b'\r') else {
            self.scanned = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.scanned + found).freeze();
        self.scanned = 0;
        self.after_cr = self.buffer.first() == Some(&b'\r');
        self.buffer.advance(1);
        Some(line)
    }

    fn take_field(&mut self, mut line: Bytes) -> Result<(), SseError> {
        if !self.begun {
            if line.starts_with(b"\xef\xbb\xbf") {
                line.advance(3);
            }
            if looks_foreign(&line) {
                return Err(SseError::NotEvents);
            }
            self.begun = true;
        }
        if !line.starts_with(b"data") {
            return Ok(());
        }
        line.advance(4);
        match line.first() {
            None => {}
            Some(b':') => line.advance(if line.get(1) == Some(&b' ') { 2 } else { 1 }),
            Some(_) => return Ok(()),
        }
        self.data = Some(match self.data.take() {
            None => line,
            Some(earlier) => joined(&earlier, &line),
        });
        if self.data.as_ref().is_some_and(|data| data.len() > self.max_event) {
            return Err(SseError::TooLarge);
        }
        Ok(())
    }
}

fn joined(earlier: &[u8], line: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(earlier.len() + 1 + line.len());
    whole.extend_from_slice(earlier);
    whole.extend_from_slice(b"\n");
    whole.extend_from_slice(line);
    whole.freeze()
}

/// No field of an event stream begins like markup or JSON.
fn looks_foreign(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), Some(b'<' | b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(segments: &[&[u8]]) -> Result<Vec<String>, SseError> {
        let mut decoder = SseDecoder::new(1000);
        let mut events = Vec::new();
        for segment in segments {
            decoder.push(segment);
            while let Some(data) = decoder.next_event()? {
                events.push(String::from_utf8(data.to_vec()).unwrap());
            }
        }
        decoder.end()?;
        Ok(events)
    }

    #[test]
    fn events_are_cut_at_blank_lines_and_comments_are_dropped() {
        let body = b"\xef\xbb\xbf: hello\n\nevent: x\ndata: one\nid: 7\n\ndata:two\ndata: 2\n\ndatas: no\n\ndata\n\n";
        assert_eq!(decode(&[body]).unwrap(), ["one", "two\n2", ""]);
    }

    #[test]
    fn all_three_line_ends_are_known() {
        assert_eq!(decode(&[b"data: a\r\n\r\ndata: b\r\rdata: c\n\n"]).unwrap(), ["a", "b", "c"]);
        assert_eq!(decode(&[b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n"]).unwrap(), ["a", "b"]);
    }

    #[test]
    fn an_unfinished_event_is_none() {
        assert_eq!(decode(&[b"data: a\n\ndata: {\"half"]).unwrap(), ["a"]);
    }

    #[test]
    fn a_web_page_is_no_event_stream() {
        assert_eq!(decode(&[b"<!DOCTYPE html>\n<html>"]), Err(SseError::NotEvents));
        assert_eq!(decode(&[b"  <html></html>"]), Err(SseError::NotEvents));
        assert_eq!(decode(&[b"{\"choices\": []}"]), Err(SseError::NotEvents));
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(decode(&[b"data: ", &[b'x'; 1001]]), Err(SseError::TooLarge));
        let line = [b"data: ".as_slice(), &[b'x'; 400], b"\n"].concat();
        assert_eq!(decode(&[&line, &line, &line]), Err(SseError::TooLarge));
    }

    proptest! {
        #[test]
        fn the_cut_into_segments_does_not_matter(
            texts in prop::collection::vec("[^\r\n]{0,12}", 1..6),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            size in 1_usize..9,
        ) {
            let events: Vec<String> = texts.iter().map(|text| format!("data: {text}{end}{end}")).collect();
            let body = events.concat();
            let segments: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            prop_assert_eq!(decode(&segments).unwrap(), texts);
        }
    }
}
