//! `web_fetch`: a page of the web as text (`usage-tools.md` §7.8).

use std::time::Duration;

use copilot_shared::tool::found::WebPage;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use reqwest::Response;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use self::content::ContentType;
use super::{Access, Tool, ToolContext, ToolFailure};
use crate::outbound::{OutboundError, Request, body};

mod content;
mod markdown;

/// What is read of a page, in bytes.
const MAX_BYTES: usize = 102_400;
/// What is told of it, in characters of JSON: less than any output may have.
const MAX_CHARS: usize = 95_000;
/// All that a page may take.
const PATIENCE: Duration = Duration::from_secs(15);

const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "text/html,application/xhtml+xml,text/plain,text/markdown,application/json;q=0.9,application/xml;q=0.8,*/*;q=0.1",
);
const DECODED: HeaderValue = HeaderValue::from_static("gzip, deflate, br");

/// Fetches a page.
pub(super) struct WebFetch;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The address, with http:// or https://.
    #[schemars(length(max = 8000))]
    url: String,
    /// Turn HTML into Markdown. Say false for the HTML itself.
    #[serde(default = "yes")]
    extract_text: Option<bool>,
}

#[expect(clippy::unnecessary_wraps, reason = "the field is one")]
fn yes() -> Option<bool> {
    Some(true)
}

impl Tool for WebFetch {
    type Arguments = Arguments;
    const NAME: &'static str = "web_fetch";
    const DESCRIPTION: &'static str = "Fetches a public web page or text file and returns its content; HTML becomes \
        Markdown with its links. Reads the first 100 KB and says whether there was more. No logins, no JavaScript, no \
        binary files.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        if arguments.url.trim().is_empty() {
            return Ok(ToolAnswer::error("missing_url", "Say which URL to fetch."));
        }
        let outbound = &context.resources.outbound;
        let url = match outbound.address(&arguments.url) {
            Ok(url) => url,
            Err(blocked) => return Ok(ToolAnswer::error("url_blocked", blocked.to_string())),
        };
        let deadline = Instant::now() + PATIENCE;
        let mut request = Request::get(url);
        request.headers.insert(ACCEPT, ACCEPTED);
        request.headers.insert(ACCEPT_ENCODING, DECODED);
        match timeout_at(deadline, outbound.send(request)).await {
            Ok(Ok(response)) => Ok(page(response, arguments.extract_text != Some(false), deadline).await),
            Ok(Err(OutboundError::Blocked(blocked))) => Ok(ToolAnswer::error("url_blocked", blocked.to_string())),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a page could not be fetched");
                Ok(ToolAnswer::error("fetch_failed", error.to_string()))
            }
            Err(_) => Ok(ToolAnswer::error("fetch_failed", "The server did not answer in time.")),
        }
    }
}

async fn page(response: Response, extract: bool, deadline: Instant) -> ToolAnswer {
    let (url, status) = (response.url().clone(), response.status().as_u16());
    let header = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = ContentType::parse(header);
    if !kind.may_be_text() {
        let message = format!("{url} is {kind}, which is not text.");
        return ToolAnswer::error("unsupported_content_type", message);
    }
    let read = match body::beginning(response, MAX_BYTES, deadline).await {
        Ok(read) => read,
        Err(error) => return ToolAnswer::error("fetch_failed", error.to_string()),
    };
    let Some(text) = kind.decode(&read.bytes, read.is_cut) else {
        return ToolAnswer::error(
            "unsupported_content_type",
            format!("{url} does not say what it is, and is no text."),
        );
    };
    let mut truncated = read.is_cut;
    let content = if extract && kind.is_html() {
        // A page may be written to be slow to read; other turns must not wait for it.
        let base = url.clone();
        let converted = tokio::task::spawn_blocking(move || markdown::from_html(&text, &base)).await;
        match converted {
            Ok(converted) => {
                truncated |= converted.is_cut;
                converted.text
            }
            Err(_) => return ToolAnswer::error("fetch_failed", "The page could not be read."),
        }
    } else {
        text
    };
    let (content, cut) = content::fitting(content, MAX_CHARS);
    truncated |= cut;
    let more = if truncated { ", cut: there is more" } else { "" };
    let message = format!("{url} answered {status}{more}.");
    let page = WebPage { url: url.into(), status_code: status, content_type: kind.to_string(), content, truncated };
    ToolAnswer::new(message, ToolResponse::WebPage(page))
}

#[cfg(test)]
mod tests;
