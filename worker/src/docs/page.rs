//! A page of Markdown and the sections that its headings make.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// A page.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// Where it is.
    pub path: String,
    /// Its first heading of the first level, or its path.
    pub title: String,
    /// The Markdown.
    pub source: String,
    /// What it is made of, in order: at least one section.
    pub sections: Vec<Section>,
}

/// What a heading stands above.
#[derive(Debug, PartialEq)]
pub struct Section {
    /// The heading; the page's title for what stands above the first one.
    pub heading: String,
    /// How links find it, if it has a heading.
    anchor: Option<String>,
    /// What it says, without Markdown.
    pub text: String,
    level: HeadingLevel,
    start: usize,
}

impl Page {
    /// Reads a page.
    pub(super) fn read(path: String, source: String) -> Self {
        let mut sections = Reader::default().sections(&source);
        let first = sections.iter().position(|section| section.level == HeadingLevel::H1 && section.anchor.is_some());
        let title = first.and_then(|first| sections.get(first)).map_or_else(|| path.clone(), |s| s.heading.clone());
        // A page that begins with its title is one section, not an empty one before it.
        if sections.len() > 1 && sections.first().is_some_and(|section| section.text.trim().is_empty()) {
            sections.remove(0);
        }
        if let Some(beginning) = sections.first_mut() {
            beginning.start = 0;
            if beginning.anchor.is_none() {
                beginning.heading.clone_from(&title);
            }
        }
        Self { path, title, source, sections }
    }

    /// The Markdown of a section with all that is below its heading.
    pub fn part(&self, anchor: &str) -> Option<&str> {
        let number = self.sections.iter().position(|section| section.anchor.as_deref() == Some(anchor))?;
        let section = self.sections.get(number)?;
        let next = self.sections.iter().skip(number + 1).find(|next| next.level <= section.level);
        self.source.get(section.start..next.map_or(self.source.len(), |next| next.start))
    }
}

impl Section {
    /// What a link to it needs beside the page; nothing for the page's beginning.
    pub fn anchor(&self) -> Option<&str> {
        self.anchor.as_deref().filter(|_| self.start > 0)
    }
}

#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    /// The heading that is being read.
    heading: Option<String>,
    /// How often each anchor was wanted.
    anchors: HashMap<String, usize>,
}

impl Reader {
    fn sections(mut self, source: &str) -> Vec<Section> {
        self.begin(HeadingLevel::H1, 0);
        let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
        let mut is_metadata = false;
        for (event, place) in Parser::new_ext(source, options).into_offset_iter() {
            match &event {
                Event::Start(Tag::MetadataBlock(_)) => is_metadata = true,
                Event::End(TagEnd::MetadataBlock(_)) => is_metadata = false,
                _ if is_metadata => {}
                _ => self.take(&event, &place),
            }
        }
        self.sections
    }

    fn take(&mut self, event: &Event<'_>, place: &Range<usize>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.begin(*level, place.start);
                self.heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(_)) => self.end_heading(),
            Event::Text(text) | Event::Code(text) => self.say(text),
            // Of two lines or blocks, the last word and the first must not grow together.
            Event::SoftBreak
            | Event::HardBreak
            | Event::End(
                TagEnd::Paragraph | TagEnd::Item | TagEnd::CodeBlock | TagEnd::TableCell | TagEnd::BlockQuote(_),
            ) => self.say(" "),
            _ => {}
        }
    }

    fn begin(&mut self, level: HeadingLevel, start: usize) {
        self.sections.push(Section { heading: String::new(), anchor: None, text: String::new(), level, start });
    }

    fn end_heading(&mut self) {
        let heading = self.heading.take().unwrap_or_default();
        let anchor = self.anchor(&heading);
        if let Some(section) = self.sections.last_mut() {
            heading.trim().clone_into(&mut section.heading);
            section.anchor = Some(anchor);
        }
    }

    fn say(&mut self, text: &str) {
        let section = self.sections.last_mut().map(|section| &mut section.text);
        if let Some(said) = self.heading.as_mut().or(section) {
            said.push_str(text);
        }
    }

    /// The anchor that hosts of Markdown give a heading.
    fn anchor(&mut self, heading: &str) -> String {
        let kept = heading.trim().to_lowercase();
        let anchor: String = kept
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                '-' | '_' => Some(c),
                c => c.is_alphanumeric().then_some(c),
            })
            .collect();
        let earlier = self.anchors.entry(anchor.clone()).or_default();
        *earlier += 1;
        if *earlier == 1 { anchor } else { format!("{anchor}-{}", *earlier - 1) }
    }
}
