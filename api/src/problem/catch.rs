//! What the framework refuses by itself, in our shape.

use poem::Error;
use poem::error::{MethodNotAllowedError, NotFoundError, ResponseError};
use poem::http::StatusCode;
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};

use super::{Code, FieldError, Problem};

/// The problem behind an error that no route answered with a response of its own.
pub fn problem_of(error: &Error) -> Problem {
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        // Paths have extractors of their own, so this is the query or a header.
        let place = if error.name.contains('-') { "header" } else { "query" };
        return Problem::invalid(FieldError::at(place, error.name, "value_error", tidy(&error.reason)));
    }
    if let Some(error) = error.downcast_ref::<ParsePathError>() {
        return Problem::invalid(FieldError::at("path", error.name, "value_error", tidy(&error.reason)));
    }
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return Problem::invalid(FieldError::in_body("", "value_error", tidy(&error.reason)));
    }
    if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        return Problem::new(error.status(), Code::UnsupportedMediaType, "The body must be application/json.");
    }
    if error.is::<AuthorizationError>() {
        return Problem::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, "Authorization header is missing");
    }
    if error.is::<NotFoundError>() {
        return Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "Not Found");
    }
    if error.is::<MethodNotAllowedError>() {
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, "Method Not Allowed");
    }
    of_status(error.status())
}

fn of_status(status: StatusCode) -> Problem {
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::NOT_FOUND => Code::NotFound,
        status if status.is_client_error() => Code::ValidationError,
        _ => return Problem::internal(),
    };
    Problem::new(status, code, status.canonical_reason().unwrap_or("Refused"))
}

/// The reasons of the framework are made for logs: one line is enough, and it must not be endless.
fn tidy(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().chars().take(300).collect()
}
