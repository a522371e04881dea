//! Turns what a provider says about a failure into a [`ModelError`] that may reach the user.

use std::time::Duration;

use chrono::{DateTime, Utc};
use copilot_shared::message::strip_controls;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::ModelError;
use super::sse::SseError;

/// No provider is believed that asks for more patience than this.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// Characters of a provider's own sentence that are shown.
const MAX_DETAIL_CHARS: usize = 200;
/// A word at least this long, of letters, digits and little else, may be a secret.
const SECRET_LENGTH: usize = 32;
const SECRET_PREFIXES: [&str; 7] = ["sk-", "sk_", "gsk_", "xai-", "key-", "AIza", "eyJ"];

/// What providers write when the conversation is too long (`usage-tools.md` §8.7, then what
/// llama.cpp, vLLM and current Claude models say).
const CONTEXT_PATTERNS: [&str; 13] = [
    "prompt is too long",
    "request too large",
    "request_too_large",
    "maximum context length",
    "context_length_exceeded",
    "input tokens exceed",
    "input is too long",
    "content length exceeds",
    "exceed context limit",
    "exceed_context_size",
    "available context size",
    "context window",
    "reduce the length of the messages",
];

/// A provider's error object, whichever of its shapes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    /// The sentence.
    message: String,
    /// The words of `type` and `code`.
    kind: String,
    /// A `code` that is an HTTP status.
    status: Option<u16>,
    /// All of it, in small letters.
    whole: String,
}

impl Report {
    /// Reads `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, `{"detail": …}` or anything else.
    pub(super) fn read(body: &[u8]) -> Self {
        let whole = String::from_utf8_lossy(body).to_lowercase();
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Self { whole, ..Self::default() };
        };
        let error = value.get("error").unwrap_or(&value);
        let text = |key: &str| error.get(key).and_then(Value::as_str);
        let code = error.get("code");
        let message = error.as_str().or_else(|| text("message")).or_else(|| text("detail"));
        Self {
            message: message.unwrap_or_default().to_owned(),
            kind: [text("type"), code.and_then(Value::as_str)].into_iter().flatten().collect::<Vec<_>>().join(" "),
            status: code.and_then(status_in),
            whole,
        }
    }

    fn is_context(&self) -> bool {
        CONTEXT_PATTERNS.iter().any(|pattern| self.whole.contains(pattern))
    }

    fn kind_has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.kind.contains(word))
    }
}

fn status_in(code: &Value) -> Option<u16> {
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// The error behind an HTTP status.
pub(super) fn from_status(status: u16, report: &Report, retry_after: Option<Duration>, secret: &str) -> ModelError {
    match status {
        401 | 403 => credentials(),
        402 => no_credit(),
        429 if report.kind_has(&["insufficient_quota"]) => no_credit(),
        408 | 409 | 425 | 429 | 500..=599 => ModelError::Transient { message: busy(status), retry_after },
        413 => ModelError::ContextTooLong,
        400 | 422 if report.is_context() => ModelError::ContextTooLong,
        404 => ModelError::Fatal(with_detail("The model provider does not know this model", report, secret)),
        _ => ModelError::Fatal(with_detail("The model provider refused the request", report, secret)),
    }
}

/// The error behind an error object in the middle of a stream, where the status was a good one.
pub(super) fn from_report(report: &Report, secret: &str) -> ModelError {
    let status = match report.status {
        Some(status) => status,
        None if report.is_context() => 413,
        None if report.kind_has(&["authentication", "permission", "invalid_api_key"]) => 401,
        None if report.kind_has(&["insufficient_quota", "billing"]) => 402,
        None if report.kind_has(&["not_found"]) => 404,
        None if report.kind_has(&["invalid_request"]) => 400,
        None if report.kind_has(&["rate_limit"]) => 429,
        // The request had been accepted, so the trouble is the provider's.
        None => 500,
    };
    from_status(status, report, None, secret)
}

/// The error behind a request or a body that broke.
pub(super) fn from_transport(error: &reqwest::Error) -> ModelError {
    if error.is_builder() {
        return ModelError::Fatal("The request to the model provider could not be made.".into());
    }
    let message = if error.is_timeout() {
        "The model provider did not answer in time."
    } else if error.is_connect() {
        "The model provider cannot be reached."
    } else {
        "The connection to the model provider broke off."
    };
    ModelError::Transient { message: message.into(), retry_after: None }
}

/// An answer that ended before it was complete.
pub(super) fn broken_off() -> ModelError {
    ModelError::Transient { message: "The model provider broke off its answer.".into(), retry_after: None }
}

/// An answer that no model gives.
pub(super) fn nonsense() -> ModelError {
    ModelError::Fatal("The model provider sent something that is not a model's answer.".into())
}

impl From<SseError> for ModelError {
    fn from(error: SseError) -> Self {
        match error {
            SseError::TooLarge => Self::Fatal("The model provider sent an answer that is too large.".into()),
            SseError::NotEvents => nonsense(),
        }
    }
}

fn credentials() -> ModelError {
    ModelError::Fatal("The model provider refused our credentials.".into())
}

fn no_credit() -> ModelError {
    ModelError::Fatal("The account at the model provider has no credit left.".into())
}

fn busy(status: u16) -> String {
    let trouble = match status {
        408 => "took too long",
        409 | 425 | 429 | 529 => "is busy",
        _ => "has a problem",
    };
    format!("The model provider {trouble}. Please try again in a moment.")
}

fn with_detail(sentence: &str, report: &Report, secret: &str) -> String {
    let detail = sanitised(&report.message, secret);
    if detail.is_empty() { format!("{sentence}.") } else { format!("{sentence}: {detail}") }
}

/// A provider's sentence without what looks like a key, cut to a readable length.
fn sanitised(message: &str, secret: &str) -> String {
    let mut message = strip_controls(message);
    if !secret.is_empty() {
        message = message.replace(secret, "[redacted]");
    }
    let words: Vec<&str> =
        message.split_whitespace().map(|word| if is_secret(word) { "[redacted]" } else { word }).collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_DETAIL_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn is_secret(word: &str) -> bool {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let long = core.len() >= SECRET_LENGTH
        && core.contains(|c: char| c.is_ascii_digit())
        && core.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*+=".contains(c));
    long || SECRET_PREFIXES.iter().any(|prefix| core.starts_with(prefix) && core.len() > prefix.len() + 2)
}

/// How long the provider asks to wait: `Retry-After` in seconds or as a date, or OpenAI's
/// `retry-after-ms`.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0)?;
        Some(Duration::try_from_secs_f64(number * unit).unwrap_or(MAX_RETRY_AFTER))
    };
    let precise = text("retry-after-ms").and_then(|text| seconds(text, 0.001));
    let wait = precise.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        seconds(text, 1.0).or_else(|| {
            let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
            Some((until - now).to_std().unwrap_or(Duration::ZERO))
        })
    })?;
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use reqwest::header::HeaderValue;

    fn classify(status: u16, body: &str) -> ModelError {
        from_status(status, &Report::read(body.as_bytes()), None, "my-own-key")
    }

    #[test]
    fn passing_troubles_are_transient() {
        for status in [408, 409, 425, 429, 500, 502, 503, 504, 529] {
            assert!(matches!(classify(status, ""), ModelError::Transient { .. }), "{status}");
        }
    }

    #[test]
    fn refused_credentials_tell_nothing_about_the_key() {
        let error = classify(401, r#"{"error":{"message":"Incorrect API key provided: sk-abc"}}"#);
        assert_eq!(error, ModelError::Fatal("The model provider refused our credentials.".into()));
        assert_eq!(classify(403, "<html>"), error);
    }

    #[test]
    fn an_exhausted_account_is_not_asked_again() {
        let body = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota"}}"#;
        assert!(matches!(classify(429, body), ModelError::Fatal(_)));
        assert!(matches!(classify(402, ""), ModelError::Fatal(_)));
    }

    #[test]
    fn a_too_long_conversation_is_recognised_in_its_many_words() {
        for body in [
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","code":"context_length_exceeded"}}"#,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"Input is too long for requested model."}}}"#,
            "Content length exceeds the limit",
        ] {
            assert_eq!(classify(400, body), ModelError::ContextTooLong, "{body}");
        }
        assert_eq!(classify(413, "<html>Request Entity Too Large</html>"), ModelError::ContextTooLong);
        assert!(matches!(classify(400, r#"{"error":"bad temperature"}"#), ModelError::Fatal(_)));
        assert!(matches!(classify(500, "prompt is too long"), ModelError::Transient { .. }));
    }

    #[test]
    fn a_refusal_shows_a_short_clean_sentence() {
        let body = r#"{"error":{"message":"bad\u0000 field for key my-own-key and sk-live-123456 or abcdef0123456789abcdef0123456789"}}"#;
        let expected =
            "The model provider refused the request: bad field for key [redacted] and [redacted] or [redacted]";
        assert_eq!(classify(400, body), ModelError::Fatal(expected.into()));
        let ModelError::Fatal(long) = classify(400, &format!(r#"{{"error":"{}"}}"#, "né ".repeat(500))) else {
            panic!("not fatal");
        };
        assert!(long.chars().count() < 250, "{long}");
        assert_eq!(classify(418, "<html>"), ModelError::Fatal("The model provider refused the request.".into()));
    }

    #[test]
    fn an_error_inside_a_stream_is_classified_by_its_code_or_kind() {
        let classify = |body: &str| from_report(&Report::read(body.as_bytes()), "");
        for body in [
            r#"{"error":{"code":502,"message":"upstream"}}"#,
            r#"{"error":{"code":"429","message":"slow down"}}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            r#"{"error":{"code":"server_error","message":"x"}}"#,
            r#"{"error":"out of luck"}"#,
        ] {
            assert!(matches!(classify(body), ModelError::Transient { .. }), "{body}");
        }
        let refused = r#"{"error":{"type":"invalid_request_error","message":"no such tool"}}"#;
        assert_eq!(classify(refused), ModelError::Fatal("The model provider refused the request: no such tool".into()));
        let long = r#"{"error":{"type":"invalid_request_error","message":"prompt is too long"}}"#;
        assert_eq!(classify(long), ModelError::ContextTooLong);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms_and_capped() {
        let now = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "Fri, 02 Jan 2026 03:04:15 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(wait("retry-after", "Fri, 02 Jan 2026 03:04:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("retry-after", "1e300"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("retry-after", "99999"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("retry-after", "-3"), None);
        assert_eq!(wait("retry-after", "NaN"), None);
        assert_eq!(wait("retry-after", "soon"), None);
    }
}
