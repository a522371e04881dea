//! A file as a response: as an attachment, never as a page.

use std::fmt::Write;
use std::ops::Range;

use copilot_shared::blobs::BlobReader;
use copilot_shared::workspace::File;
use futures_util::StreamExt;
use poem::http::{StatusCode, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{Binary, Type};

/// A file on its way out.
pub(super) struct Download {
    pub(super) file: File,
    /// The part that was asked for.
    pub(super) part: Option<Range<u64>>,
    pub(super) bytes: BlobReader,
}

/// A file's bytes never change, so their hash is their tag.
pub(super) fn etag(file: &File) -> String {
    let mut tag = String::from("\"");
    for byte in file.checksum {
        let written = write!(tag, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing into a String cannot fail");
    }
    tag.push('"');
    tag
}

impl IntoResponse for Download {
    fn into_response(self) -> Response {
        let size = u64::try_from(self.file.size_bytes).unwrap_or(0);
        let range = self.part.clone().unwrap_or(0..size);
        let mut response = Response::builder()
            .content_type(&self.file.mime_type)
            .header(header::CONTENT_DISPOSITION, disposition(&self.file.name))
            .header(header::CONTENT_LENGTH, range.end - range.start)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, etag(&self.file))
            // Should a browser show it after all: without scripts and without our origin.
            .header(header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
        if self.part.is_some() {
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, place);
        }
        let bytes = self.bytes.into_stream().map(|piece| piece.map_err(std::io::Error::other));
        response.body(Body::from_bytes_stream(bytes))
    }
}

/// The name as RFC 6266 has it: quoted if it is plain, else encoded (RFC 8187).
fn disposition(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ';
    if name.chars().all(plain) {
        return format!("attachment; filename=\"{name}\"");
    }
    let mut encoded = String::from("attachment; filename*=UTF-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let written = write!(encoded, "%{byte:02X}");
            debug_assert!(written.is_ok(), "writing into a String cannot fail");
        }
    }
    encoded
}

impl ApiResponse for Download {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![
                response(200, "The file", headers(&[])),
                response(
                    206,
                    "The part of the file that was asked for",
                    headers(&[("Content-Range", "Which bytes, and of how many.")]),
                ),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        Binary::<Vec<u8>>::register(registry);
        String::register(registry);
    }
}

fn response(status: u16, description: &'static str, headers: Vec<MetaHeader>) -> MetaResponse {
    let content = vec![MetaMediaType { content_type: "*/*", schema: Binary::<Vec<u8>>::schema_ref() }];
    MetaResponse { description, status: Some(status), status_range: None, content, headers }
}

fn headers(more: &[(&str, &str)]) -> Vec<MetaHeader> {
    let always = [
        ("Content-Disposition", "`attachment`, and the file's name."),
        ("Accept-Ranges", "Always `bytes`."),
        ("ETag", "The hash of the whole file, for `If-Range`."),
    ];
    let header = |(name, description): &(&str, &str)| MetaHeader {
        name: (*name).into(),
        description: Some((*description).into()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    };
    always.iter().chain(more).map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_or_encoded_and_never_break_the_header() {
        assert_eq!(disposition("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(disposition("naïve \"x\".txt"), "attachment; filename*=UTF-8''na%C3%AFve%20%22x%22.txt");
        assert_eq!(disposition("50%.txt"), "attachment; filename*=UTF-8''50%25.txt");
    }
}
