//! A page's text as Markdown: headings, lists, links, tables, code; no images, no scripts.
//!
//! It is written from the tokens, without a tree: strangers write these pages, and a tree of 100 KB
//! of misnested tags takes quadratic time and memory, or a stack without end. Here every token
//! costs the same, and the result is bounded.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, EndTag, StartTag, Tag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use url::Url;

mod page;

use page::{Break, Marker, Page};

/// No Markdown is longer, in bytes. Links are written out in full, so a small page can be large.
const MAX_BYTES: usize = 400_000;

/// A page as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Converted {
    pub(super) text: String,
    /// Was it longer than may be?
    pub(super) is_cut: bool,
}

pub(super) fn from_html(html: &str, base: &Url) -> Converted {
    let tokenizer = Tokenizer::new(Reader(RefCell::new(State::new(base))), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    while !input.is_empty() {
        // Interrupted only by sinks that run scripts; this one does not.
        drop(tokenizer.feed(&input));
    }
    tokenizer.end();
    let page = tokenizer.sink.0.into_inner().page;
    let is_cut = page.is_full();
    Converted { text: page.into_text(), is_cut }
}

struct Reader(RefCell<State>);

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => state.text(&text),
            Token::TagToken(tag) => return state.tag(&tag),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

struct State {
    page: Page,
    base: Url,
    /// The element whose content is left out, and how often it is open.
    skipped: Option<(String, usize)>,
}

impl State {
    fn new(base: &Url) -> Self {
        Self { page: Page::new(MAX_BYTES), base: base.clone(), skipped: None }
    }

    fn text(&mut self, text: &str) {
        if self.skipped.is_none() {
            self.page.text(text);
        }
    }

    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        // Of what is left out, only a picture in the page's own lines can end where it begins.
        let ends_at_once = tag.self_closing && name == "svg";
        if !ends_at_once && !self.skips(name, tag.kind) {
            match tag.kind {
                StartTag => self.start(name, tag),
                EndTag => self.end(name),
            }
        }
        match (tag.kind, name) {
            (StartTag, "script") => TokenSinkResult::RawData(ScriptData),
            (StartTag, "style" | "iframe" | "noembed" | "noframes" | "xmp") => TokenSinkResult::RawData(Rawtext),
            (StartTag, "title" | "textarea") => TokenSinkResult::RawData(Rcdata),
            (StartTag, "plaintext") => TokenSinkResult::Plaintext,
            _ => TokenSinkResult::Continue,
        }
    }

    /// Does a tag begin, end or belong to what is left out?
    fn skips(&mut self, name: &str, kind: html5ever::tokenizer::TagKind) -> bool {
        match (&mut self.skipped, kind) {
            (None, StartTag) => {
                let silent = matches!(
                    name,
                    "script" | "style" | "template" | "svg" | "canvas" | "iframe" | "noembed" | "noframes" | "object"
                );
                if silent {
                    self.skipped = Some((name.to_owned(), 1));
                }
                silent
            }
            (None, EndTag) => false,
            (Some((outer, depth)), kind) => {
                if outer == name {
                    *depth = if kind == StartTag { *depth + 1 } else { depth.saturating_sub(1) };
                }
                if *depth == 0 {
                    self.skipped = None;
                }
                true
            }
        }
    }

    fn start(&mut self, name: &str, tag: &Tag) {
        let page = &mut self.page;
        match name {
            "title" | "h1" => page.heading(1),
            "h2" => page.heading(2),
            "h3" => page.heading(3),
            "h4" => page.heading(4),
            "h5" => page.heading(5),
            "h6" => page.heading(6),
            "br" => page.line_break(),
            "hr" => page.rule(),
            "ul" | "menu" => page.begin_list(Marker::Bullet),
            "ol" => page.begin_list(Marker::Number(1)),
            "li" => page.item(),
            "dt" | "dd" | "option" => page.separate(Break::Line),
            "blockquote" => page.begin_quote(),
            "pre" | "textarea" | "xmp" | "plaintext" => page.begin_code(),
            "code" | "kbd" | "samp" | "tt" => page.code_mark(),
            "table" => page.begin_table(),
            "tr" => page.row(),
            "td" | "th" => page.cell(),
            "base" => {
                if let Some(base) = attribute(tag, "href").and_then(|href| self.base.join(href).ok()) {
                    self.base = base;
                }
            }
            "a" => {
                let target = attribute(tag, "href").and_then(|href| self.base.join(href.trim()).ok());
                let target = target.filter(|url| matches!(url.scheme(), "http" | "https" | "mailto"));
                page.begin_link(target.map(String::from));
            }
            name if is_block(name) => page.separate(Break::Paragraph),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        let page = &mut self.page;
        match name {
            "a" => page.end_link(),
            "ul" | "ol" | "menu" => page.end_list(),
            "blockquote" => page.end_quote(),
            "pre" | "textarea" | "xmp" => page.end_code(),
            "code" | "kbd" | "samp" | "tt" => page.code_mark(),
            "table" => page.end_table(),
            "tr" => page.end_row(),
            "li" => {
                page.end_item();
                page.separate(Break::Line);
            }
            "dt" | "dd" | "option" => page.separate(Break::Line),
            "title" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                page.end_item();
                page.separate(Break::Paragraph);
            }
            name if is_block(name) => page.separate(Break::Paragraph),
            _ => {}
        }
    }
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "p" | "div"
            | "section"
            | "article"
            | "aside"
            | "main"
            | "nav"
            | "header"
            | "footer"
            | "form"
            | "fieldset"
            | "figure"
            | "figcaption"
            | "details"
            | "summary"
            | "address"
            | "dl"
            | "caption"
            | "body"
            | "dialog"
            | "center"
    )
}

fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

#[cfg(test)]
mod tests;
