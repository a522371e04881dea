//! Markdown as it is written: what separates blocks, what lines begin with, and what is open.

/// What separates two pieces of text; the greater one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Break {
    /// Nothing.
    None,
    /// A space.
    Space,
    /// A new line.
    Line,
    /// An empty line.
    Paragraph,
}

/// What the items of a list begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// A dash.
    Bullet,
    /// The number of the next one.
    Number(u32),
}

/// Deeper lists and quotes are not indented any further: each line repeats it.
const MAX_INDENT: usize = 12;

#[derive(Debug)]
struct Link {
    /// Where its text begins.
    begin: usize,
    target: Option<String>,
}

#[derive(Debug, Default)]
struct Table {
    rows: usize,
    cells: usize,
    in_row: bool,
}

#[derive(Debug)]
pub(super) struct Page {
    text: String,
    limit: usize,
    pending: Break,
    /// The greatest break that may come before the next piece: what follows a marker stays with it.
    widest: Break,
    lists: Vec<Marker>,
    quotes: usize,
    code_blocks: usize,
    link: Option<Link>,
    tables: Vec<Table>,
}

impl Page {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            pending: Break::None,
            widest: Break::Paragraph,
            lists: Vec::new(),
            quotes: 0,
            code_blocks: 0,
            link: None,
            tables: Vec::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= self.limit
    }

    pub(super) fn into_text(mut self) -> String {
        self.end_link();
        if self.code_blocks > 0 {
            self.code_blocks = 1;
            self.end_code();
        }
        while self.text.len() > self.limit {
            self.text.pop();
        }
        self.text.trim().to_owned()
    }

    pub(super) fn separate(&mut self, by: Break) {
        // A row of a table is one line.
        let by = if self.in_row() { by.min(Break::Space) } else { by };
        self.pending = self.pending.max(by.min(self.widest));
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.is_full() {
            return;
        }
        if self.code_blocks > 0 {
            self.flush();
            self.text.push_str(text);
            return;
        }
        if text.starts_with(|c: char| c.is_whitespace()) {
            self.separate(Break::Space);
        }
        for (n, word) in text.split_whitespace().enumerate() {
            if n > 0 {
                self.separate(Break::Space);
            }
            self.flush();
            self.text.push_str(word);
        }
        if text.ends_with(|c: char| c.is_whitespace()) {
            self.separate(Break::Space);
        }
    }

    pub(super) fn heading(&mut self, level: usize) {
        self.separate(Break::Paragraph);
        if !self.in_row() {
            self.mark(&format!("{} ", "#".repeat(level)));
            self.widest = Break::None;
        }
    }

    pub(super) fn line_break(&mut self) {
        if self.code_blocks > 0 {
            self.text.push('\n');
        } else {
            self.separate(Break::Line);
        }
    }

    pub(super) fn rule(&mut self) {
        self.separate(Break::Paragraph);
        self.mark("---");
        self.separate(Break::Paragraph);
    }

    pub(super) fn begin_list(&mut self, marker: Marker) {
        self.separate(if self.lists.is_empty() { Break::Paragraph } else { Break::Line });
        self.lists.push(marker);
    }

    pub(super) fn end_list(&mut self) {
        self.lists.pop();
        self.separate(if self.lists.is_empty() { Break::Paragraph } else { Break::Line });
    }

    pub(super) fn item(&mut self) {
        self.end_item();
        self.separate(Break::Line);
        let marker = match self.lists.last_mut() {
            Some(Marker::Number(number)) => {
                let marker = format!("{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            Some(Marker::Bullet) | None => "- ".into(),
        };
        if !self.in_row() {
            self.mark(&marker);
            self.widest = Break::None;
        }
    }

    /// Also of a heading: what has a marker ends, perhaps without a text.
    pub(super) fn end_item(&mut self) {
        self.widest = Break::Paragraph;
    }

    pub(super) fn begin_quote(&mut self) {
        self.separate(Break::Paragraph);
        if !self.text.is_empty() && self.pending == Break::Paragraph && !self.is_full() {
            self.empty_line();
        }
        self.quotes += 1;
        self.pending = self.pending.min(Break::Line);
        self.widest = self.widest.min(Break::Line);
    }

    pub(super) fn end_quote(&mut self) {
        self.quotes = self.quotes.saturating_sub(1);
        self.separate(Break::Paragraph);
    }

    pub(super) fn begin_code(&mut self) {
        self.code_blocks += 1;
        if self.code_blocks == 1 && !self.in_row() {
            self.separate(Break::Paragraph);
            self.mark("```\n");
        }
    }

    pub(super) fn end_code(&mut self) {
        if self.code_blocks == 1 && !self.in_row() {
            if !self.text.ends_with('\n') {
                self.text.push('\n');
            }
            self.text.push_str("```");
        }
        self.code_blocks = self.code_blocks.saturating_sub(1);
        self.separate(Break::Paragraph);
    }

    pub(super) fn code_mark(&mut self) {
        if self.code_blocks == 0 {
            // The mark that closes belongs to the word before it.
            self.mark("`");
        }
    }

    pub(super) fn begin_table(&mut self) {
        self.separate(Break::Paragraph);
        self.tables.push(Table::default());
    }

    pub(super) fn end_table(&mut self) {
        self.end_row();
        self.tables.pop();
        self.separate(Break::Paragraph);
    }

    pub(super) fn row(&mut self) {
        self.end_row();
        self.separate(Break::Line);
    }

    pub(super) fn cell(&mut self) {
        // A table in a cell of another is written into the cell.
        let nested = self.tables.len() > 1;
        let Some(table) = self.tables.last_mut() else { return };
        table.cells += 1;
        if !nested && !table.in_row {
            self.mark("| ");
        } else if nested {
            self.separate(Break::Space);
        } else {
            self.pending = Break::None;
            self.text.push_str(" | ");
        }
        if let Some(table) = self.tables.last_mut() {
            table.in_row = true;
        }
    }

    pub(super) fn end_row(&mut self) {
        let nested = self.tables.len() > 1;
        let Some(table) = self.tables.last_mut().filter(|table| table.in_row) else { return };
        table.in_row = false;
        table.rows += 1;
        let cells = std::mem::take(&mut table.cells);
        let is_first = table.rows == 1;
        if nested {
            return;
        }
        self.pending = Break::None;
        self.text.push_str(" |");
        if is_first && !self.is_full() {
            self.text.push('\n');
            self.text.push_str(&"| --- ".repeat(cells));
            self.text.push('|');
        }
        self.separate(Break::Line);
    }

    pub(super) fn begin_link(&mut self, target: Option<String>) {
        self.end_link();
        self.flush();
        self.link = Some(Link { begin: self.text.len(), target });
    }

    pub(super) fn end_link(&mut self) {
        let Some(Link { begin, target: Some(target) }) = self.link.take() else { return };
        if self.is_full() || !self.text.is_char_boundary(begin.min(self.text.len())) {
            return;
        }
        let label = self.text.split_off(begin.min(self.text.len()));
        let words: Vec<&str> = label.split_whitespace().collect();
        if words.is_empty() {
            self.text.push_str(&label);
            return;
        }
        self.text.push('[');
        self.text.push_str(&words.join(" "));
        self.text.push_str("](");
        self.text.push_str(&target);
        self.text.push(')');
    }

    /// Writes a mark as it is.
    fn mark(&mut self, mark: &str) {
        if !self.is_full() {
            self.flush();
            self.text.push_str(mark);
        }
    }

    /// Writes what separates the last piece from the next.
    fn flush(&mut self) {
        let pending = std::mem::replace(&mut self.pending, Break::None);
        self.widest = Break::Paragraph;
        if self.text.is_empty() {
            return self.text.push_str(&"> ".repeat(self.quotes.min(MAX_INDENT)));
        }
        match pending {
            Break::None => {}
            Break::Space => {
                if !self.text.ends_with(char::is_whitespace) {
                    self.text.push(' ');
                }
            }
            Break::Line => self.new_line(),
            Break::Paragraph => {
                self.empty_line();
                self.new_line();
            }
        }
    }

    fn empty_line(&mut self) {
        self.text.push('\n');
        self.text.push_str("> ".repeat(self.quotes.min(MAX_INDENT)).trim_end());
    }

    fn new_line(&mut self) {
        self.text.push('\n');
        self.text.push_str(&"> ".repeat(self.quotes.min(MAX_INDENT)));
        self.text.push_str(&"  ".repeat(self.lists.len().saturating_sub(1).min(MAX_INDENT)));
    }

    fn in_row(&self) -> bool {
        self.tables.iter().any(|table| table.in_row)
    }
}
