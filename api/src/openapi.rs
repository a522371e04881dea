//! The OpenAPI document: what the routes say of themselves, mended where the generator of the
//! framework says it in a way that code generators stumble over.

use std::collections::BTreeMap;

use poem::http::Method;
use serde_json::Value;

use crate::routes;

/// The document, as JSON.
pub fn document() -> String {
    // The framework's media type names the character set, which JSON has none of (RFC 8259, 11),
    // and generators then send it back as it is.
    let text = routes::service().spec().replace("application/json; charset=utf-8", "application/json");
    match serde_json::from_str::<Value>(&text) {
        Ok(mut document) => {
            document["openapi"] = "3.0.3".into();
            serde_json::to_string_pretty(&document).unwrap_or(text)
        }
        Err(_) => text,
    }
}

/// Which methods each path has, for the `Allow` header of a 405 (RFC 9110, 15.5.6).
#[derive(Debug, Clone)]
pub struct AllowedMethods {
    paths: Vec<(Vec<Segment>, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    Any,
}

impl AllowedMethods {
    /// The methods that a document names.
    pub fn of(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let mut paths = Vec::new();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let methods: Vec<String> = operations
                .as_object()
                .into_iter()
                .flatten()
                .map(|(method, _)| method.to_uppercase())
                .filter(|method| Method::from_bytes(method.as_bytes()).is_ok())
                .collect();
            paths.push((segments(path), methods.join(", ")));
        }
        Self { paths }
    }

    /// The methods of a path, comma separated; `None` if there is no such path.
    pub fn at(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &[Segment]| {
            template.len() == parts.len()
                && template.iter().zip(&parts).all(|(segment, part)| match segment {
                    Segment::Fixed(name) => name == part,
                    Segment::Any => !part.is_empty(),
                })
        };
        // A path with fewer parameters is the more exact one.
        let exactness = |template: &[Segment]| template.iter().filter(|segment| **segment == Segment::Any).count();
        let mut found: BTreeMap<usize, &str> = BTreeMap::new();
        for (template, methods) in &self.paths {
            if fits(template) {
                found.insert(exactness(template), methods);
            }
        }
        found.into_values().next().map(str::to_owned)
    }
}

fn segments(path: &str) -> Vec<Segment> {
    path.split('/')
        .map(|part| if part.starts_with('{') { Segment::Any } else { Segment::Fixed(part.to_owned()) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_one_that_was_reviewed() {
        let reviewed = include_str!("../openapi.json");
        assert!(
            document().trim() == reviewed.trim(),
            "the contract changed; if that is meant: cargo run -p copilot-api -- openapi > api/openapi.json"
        );
    }

    #[test]
    fn every_operation_has_a_name_a_tag_and_a_summary() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        let mut names = std::collections::HashSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let at = format!("{method} {path}");
                assert!(names.insert(operation["operationId"].as_str().unwrap_or_default().to_owned()), "{at}");
                assert!(operation["tags"].is_array() && operation["summary"].is_string(), "{at}");
            }
        }
    }

    #[test]
    fn the_methods_of_a_path_are_known() {
        let methods = AllowedMethods::of(&document());
        assert_eq!(methods.at("/api/chat/sessions").as_deref(), Some("GET, POST"));
        assert_eq!(methods.at("/api/chat/sessions/x/title").as_deref(), Some("PATCH"));
        assert_eq!(methods.at("/api/chat/nothing/like/that"), None);
    }
}
