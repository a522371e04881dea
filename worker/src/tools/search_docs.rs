//! `search_docs`: finds pages of the documentation (`usage-tools.md` §7.4).

use copilot_shared::tool::found::{DocSearchResult, DocSearchResults};
use copilot_shared::tool::plain::NoResults;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};
use crate::docs::{Docs, Found};

/// The longest excerpt, in characters.
const SNIPPET_CHARS: usize = 200;

/// Finds pages.
pub(super) struct SearchDocs;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// What to look for, in a few words.
    #[schemars(length(max = 500))]
    query: String,
}

impl Tool for SearchDocs {
    type Arguments = Arguments;
    const NAME: &'static str = "search_docs";
    const DESCRIPTION: &'static str = "Searches the documentation of this product by words. Answers the best pages with \
        the section that fits and its beginning; get_doc_page shows the rest. Use it before you answer from memory.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        Ok(answer(&context.resources.docs, arguments.query.trim()))
    }
}

fn answer(docs: &Docs, query: &str) -> ToolAnswer {
    if query.is_empty() {
        return ToolAnswer::error("missing_query", "Say what to look for.");
    }
    let results: Vec<DocSearchResult> = docs.search(query).iter().map(|found| result(docs, found)).collect();
    if results.is_empty() {
        let suggestions = ["Use other words for the same.", "Use fewer and more general words."];
        let none = NoResults::new(suggestions.map(str::to_owned).to_vec());
        return ToolAnswer::new(format!("Nothing in the documentation fits {query:?}."), ToolResponse::NoResults(none));
    }
    let message = format!("Found {} page(s) of the documentation.", results.len());
    let count = u64::try_from(results.len()).unwrap_or(u64::MAX);
    ToolAnswer::new(
        message,
        ToolResponse::DocSearchResults(DocSearchResults { results, count, query: query.to_owned() }),
    )
}

fn result(docs: &Docs, found: &Found<'_>) -> DocSearchResult {
    let Found { page, section, score } = found;
    let anchor = section.anchor();
    DocSearchResult {
        title: page.title.clone(),
        path: anchor.map_or_else(|| page.path.clone(), |anchor| format!("{}#{anchor}", page.path)),
        section: section.heading.clone(),
        snippet: snippet(&section.text),
        score: (f64::from(*score) * 1_000.0).round() / 1_000.0,
        doc_url: docs.url_of(page, anchor),
    }
}

/// The beginning of a text, on one line, up to the end of a word.
fn snippet(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = line.char_indices().nth(SNIPPET_CHARS) else { return line };
    // One less: the mark that more follows needs a place.
    let end = line.get(..end).and_then(|cut| cut.char_indices().next_back()).map_or(0, |(last, _)| last);
    let cut = line.get(..end).unwrap_or_default();
    let whole = cut.rsplit_once(' ').map_or(cut, |(whole, _broken)| whole);
    format!("{whole}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_ends_with_a_word() {
        assert_eq!(snippet(" one\n two "), "one two");
        let long = snippet(&"lengthy ".repeat(40));
        assert!(long.ends_with("lengthy…") && long.chars().count() <= SNIPPET_CHARS, "{long}");
        assert_eq!(snippet(&"é".repeat(300)).chars().count(), SNIPPET_CHARS);
        let exact = "a".repeat(SNIPPET_CHARS);
        assert_eq!(snippet(&exact), exact);
    }

    #[test]
    fn what_is_found_can_be_read_by_its_path() {
        let docs = Docs::open(None, None).unwrap();
        let found = answer(&docs, "how to add a tool");
        let ToolResponse::DocSearchResults(found) = found.response else { panic!("something fits") };
        for result in &found.results {
            let (path, anchor) = result.path.split_once('#').unwrap_or((&result.path, ""));
            let page = docs.page(path).unwrap();
            assert!(anchor.is_empty() || page.part(anchor).unwrap().starts_with('#'), "{result:?}");
            assert_eq!((&result.title, &result.doc_url), (&page.title, &None));
        }
        assert_eq!(u64::try_from(found.results.len()).unwrap(), found.count);
        assert!(answer(&docs, "zzyzx").to_json().contains("\"type\":\"no_results\""));
        assert!(answer(&docs, "").to_json().contains("missing_query"));
    }
}
