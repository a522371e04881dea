//! Which methods a path has, for the `Allow` header of a 405 (RFC 9110, 15.5.6).

use poem::http::HeaderValue;
use serde_json::Value;

use crate::openapi::DocumentError;

/// Path templates with their methods, out of the OpenAPI document.
pub struct AllowTable(Vec<(Vec<String>, HeaderValue)>);

impl AllowTable {
    /// Reads the table out of the document.
    pub fn of(document: &str) -> Result<Self, DocumentError> {
        let document: Value = serde_json::from_str(document)?;
        let paths = document.get("paths").and_then(Value::as_object).ok_or(DocumentError::Lacks("paths"))?;
        let mut table = Vec::new();
        for (path, operations) in paths {
            let methods = operations.as_object().ok_or(DocumentError::Lacks("operations"))?;
            let methods: Vec<String> = methods.keys().map(|method| method.to_uppercase()).collect();
            let methods = HeaderValue::from_str(&methods.join(", ")).map_err(|_| DocumentError::Lacks("methods"))?;
            table.push((path.split('/').map(str::to_owned).collect(), methods));
        }
        Ok(Self(table))
    }

    /// The methods of a path. Whatever is not documented can only be read.
    pub fn methods(&self, path: &str) -> Option<HeaderValue> {
        let names: Vec<&str> = path.split('/').collect();
        let literal = |template: &[String]| template.iter().filter(|name| !name.starts_with('{')).count();
        let fitting = self.0.iter().filter(|(template, _)| fits(template, &names));
        let best = fitting.max_by_key(|(template, _)| literal(template));
        best.map(|(_, methods)| methods.clone()).or_else(|| {
            matches!(path, "/" | "/docs" | "/openapi.json" | "/openapi-3.2.json")
                .then(|| HeaderValue::from_static("GET"))
        })
    }
}

fn fits(template: &[String], names: &[&str]) -> bool {
    template.len() == names.len()
        && template.iter().zip(names).all(|(template, name)| template.starts_with('{') || template == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_literal_template_wins() {
        let document = r#"{"paths": {"/a/{id}": {"get": {}}, "/a/b": {"post": {}, "put": {}}}}"#;
        let table = AllowTable::of(document).unwrap();
        assert_eq!(table.methods("/a/x").unwrap(), "GET");
        assert_eq!(table.methods("/a/b").unwrap(), "POST, PUT");
        assert!(table.methods("/b").is_none());
        assert_eq!(table.methods("/docs").unwrap(), "GET");
    }
}
