//! `get_doc_page`: shows a page of the documentation (`usage-tools.md` §7.4).

use copilot_shared::tool::found::DocPage;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};
use crate::docs::Docs;

/// Shows a page.
pub(super) struct GetDocPage;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The page as search_docs names it, for example README.md; with #section for one section only.
    #[schemars(length(max = 1000))]
    path: String,
}

impl Tool for GetDocPage {
    type Arguments = Arguments;
    const NAME: &'static str = "get_doc_page";
    const DESCRIPTION: &'static str =
        "Shows a page of the documentation, or one section of it, in Markdown. Find its path with search_docs.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        Ok(answer(&context.resources.docs, arguments.path.trim()))
    }
}

fn answer(docs: &Docs, wanted: &str) -> ToolAnswer {
    let (path, anchor) = wanted.split_once('#').map_or((wanted, None), |(path, anchor)| (path, Some(anchor)));
    // Nothing is opened by this path; the answer only says why such a path leads nowhere.
    if path.is_empty() || path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|name| name == "..") {
        return ToolAnswer::error("invalid_path", "A page's path begins in the documentation and stays there.");
    }
    let not_found = || ToolAnswer::error("not_found", format!("The documentation has no page {wanted:?}."));
    let Some(page) = docs.page(path) else { return not_found() };
    let content = match anchor.filter(|anchor| !anchor.is_empty()) {
        None => page.source.as_str(),
        Some(anchor) => match page.part(anchor) {
            Some(part) => part,
            None => return not_found(),
        },
    };
    let shown = DocPage {
        title: page.title.clone(),
        path: page.path.clone(),
        content: content.to_owned(),
        doc_url: docs.url_of(page, anchor),
    };
    ToolAnswer::new(format!("This is {}.", page.title), ToolResponse::DocPage(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str) -> String {
        let answer = answer(&Docs::open(None, None).unwrap(), path);
        let ToolResponse::Error(error) = answer.response else { return answer.response.kind().to_owned() };
        error.error.unwrap()
    }

    #[test]
    fn only_pages_of_the_documentation_are_shown() {
        for path in ["README.md", "README", "shared/ARCHITECTURE.md#how-to-add-a-tool", "README.md#"] {
            assert_eq!(code(path), "doc_page", "{path}");
        }
        for path in ["/etc/passwd", "../README.md", "a/../../b", "a\\..\\b", "\\x", "", "#a"] {
            assert_eq!(code(path), "invalid_path", "{path}");
        }
        for path in ["Cargo.toml", "nope.md", "README.md#nope", "./README.md", "%2e%2e/README.md"] {
            assert_eq!(code(path), "not_found", "{path}");
        }
    }
}
