//! The documentation that the docs tools search and show: Markdown pages of a directory, or the
//! project's own. All of it is read at the start, so that no path that a model names is ever opened.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use bm25::{Document, Language, SearchEngine, SearchEngineBuilder};
use url::Url;

mod directory;
mod page;

pub use page::{Page, Section};

/// Pages that a search finds at most, each with its best section.
const MAX_FOUND: usize = 5;
/// What fits worse is not found.
const MIN_SCORE: f32 = 0.1;
/// How much less a long section says of each of its words (BM25's b, 0 to 1): little, since sections
/// are long where there is much to say.
const LENGTH_MATTERS: f32 = 0.3;

/// The project's own pages.
const OWN: [(&str, &str); 4] = [
    ("README.md", include_str!("../../README.md")),
    ("shared/ARCHITECTURE.md", include_str!("../../shared/ARCHITECTURE.md")),
    ("deploy/BENCHMARKS.md", include_str!("../../deploy/BENCHMARKS.md")),
    ("deploy/RELIABILITY.md", include_str!("../../deploy/RELIABILITY.md")),
];

/// Why there is no documentation.
#[derive(Debug, thiserror::Error)]
pub enum DocsError {
    /// Something cannot be read.
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] std::io::Error),
    /// Nothing is there to be read.
    #[error("there are no Markdown pages in {0}")]
    Empty(PathBuf),
    /// More than anybody reads.
    #[error("there are more than {most} Markdown pages in {directory}")]
    TooMany {
        /// Where.
        directory: PathBuf,
        /// How many there may be.
        most: usize,
    },
}

/// Pages and their index.
pub struct Docs {
    pages: BTreeMap<String, Page>,
    /// Which page and which of its sections a number of the index stands for.
    places: Vec<(String, usize)>,
    index: SearchEngine<usize>,
    url: Option<Url>,
}

impl std::fmt::Debug for Docs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docs").field("pages", &self.pages.len()).finish_non_exhaustive()
    }
}

/// A section that fits a search.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its page.
    pub page: &'a Page,
    /// The section.
    pub section: &'a Section,
    /// How well it fits.
    pub score: f32,
}

impl Docs {
    /// The pages of a directory, or the project's own. `url` is where people read them.
    pub fn open(directory: Option<&Path>, url: Option<Url>) -> Result<Self, DocsError> {
        let Some(directory) = directory else {
            return Ok(Self::new(OWN.map(|(path, text)| (path.to_owned(), text.to_owned())), url));
        };
        let pages = directory::read(directory)?;
        if pages.is_empty() { Err(DocsError::Empty(directory.to_owned())) } else { Ok(Self::new(pages, url)) }
    }

    fn new(pages: impl IntoIterator<Item = (String, String)>, url: Option<Url>) -> Self {
        let pages: BTreeMap<String, Page> =
            pages.into_iter().map(|(path, text)| (path.clone(), Page::read(path, text))).collect();
        let mut places = Vec::new();
        let mut documents = Vec::new();
        for page in pages.values() {
            for (number, section) in page.sections.iter().enumerate() {
                // What a section is called says more of it than any of its sentences.
                let heading = &section.heading;
                let words = format!("{} {heading} {heading} {heading} {}", page.title, section.text);
                documents.push(Document::new(places.len(), words));
                places.push((page.path.clone(), number));
            }
        }
        let index = SearchEngineBuilder::with_documents(Language::English, documents).b(LENGTH_MATTERS).build();
        Self { pages, places, index, url }
    }

    /// A page by its path, the ending of which may be left out.
    pub fn page(&self, path: &str) -> Option<&Page> {
        self.pages.get(path).or_else(|| self.pages.get(&format!("{path}.md")))
    }

    /// The pages that fit some words, best first.
    pub fn search(&self, words: &str) -> Vec<Found<'_>> {
        let mut hits = self.index.search(words, None);
        // Of two that fit as well the earlier one, every time.
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.document.id.cmp(&b.document.id)));
        let mut seen = HashSet::new();
        let found = hits.into_iter().take_while(|hit| hit.score >= MIN_SCORE);
        let sections = found.filter_map(|hit| {
            let (path, number) = self.places.get(hit.document.id)?;
            let page = self.pages.get(path)?;
            seen.insert(path).then_some(Found { page, section: page.sections.get(*number)?, score: hit.score })
        });
        sections.take(MAX_FOUND).collect()
    }

    /// Where people read a page.
    pub fn url_of(&self, page: &Page, anchor: Option<&str>) -> Option<String> {
        let mut url = self.url.clone()?;
        let path = page.path.rsplit_once('.').map_or(page.path.as_str(), |(path, _ending)| path);
        url.path_segments_mut().ok()?.pop_if_empty().extend(path.split('/'));
        url.set_fragment(anchor);
        Some(url.into())
    }
}

#[cfg(test)]
mod tests;
