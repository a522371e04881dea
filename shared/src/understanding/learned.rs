//! What is learned of a user, cleaned and bounded before it is believed: it comes from forms and
//! models, and becomes a part of every prompt.

use super::{Business, SuggestedPrompts, Theme};

/// The longest text, in characters.
const TEXT_CHARS: usize = 300;
/// The longest `additional_notes`, in characters.
const NOTES_CHARS: usize = 1_000;
/// The longest entry of a list, in characters.
pub(super) const ENTRY_CHARS: usize = 200;
/// Entries of one list that are learned at once.
const ENTRIES: usize = 25;
/// Themes of suggested prompts.
const THEMES: usize = 10;
/// The longest name of a theme, in characters.
const THEME_CHARS: usize = 60;
/// Suggested prompts of one theme.
const PROMPTS: usize = 10;

/// Something is not fit to be learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unfit {
    /// Which field, as a path.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// News of a user. Every text is one line, trimmed and not blank; what was blank is not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learned {
    pub(super) name: Option<String>,
    pub(super) business: Business,
    pub(super) suggested_prompts: Option<SuggestedPrompts>,
}

impl Learned {
    /// Cleans what somebody says, and refuses what is too much. Absent prompts leave the old ones.
    pub fn new(
        name: Option<String>,
        mut business: Business,
        suggested_prompts: Option<SuggestedPrompts>,
    ) -> Result<Self, Unfit> {
        business.later.clear();
        for (field, text) in business.texts() {
            let longest = if field == "additional_notes" { NOTES_CHARS } else { TEXT_CHARS };
            *text = checked(text.take(), longest, || format!("business.{field}"))?;
        }
        for (field, list) in business.lists() {
            *list = checked_list(std::mem::take(list), ENTRIES, &format!("business.{field}"))?;
        }
        Ok(Self {
            name: checked(name, TEXT_CHARS, || "name".to_owned())?,
            business,
            suggested_prompts: suggested_prompts.map(checked_prompts).transpose()?,
        })
    }

    /// The names of the fields that say something.
    pub fn fields(&self) -> Vec<&'static str> {
        let mut business = self.business.clone();
        let name = self.name.iter().map(|_| "name");
        let prompts = self.suggested_prompts.iter().map(|_| "suggested_prompts");
        let texts = business.texts().into_iter().filter(|(_, text)| text.is_some()).map(|(field, _)| field);
        let mut fields: Vec<&'static str> = name.chain(texts).collect();
        fields.extend(business.lists().into_iter().filter(|(_, list)| !list.is_empty()).map(|(field, _)| field));
        fields.extend(prompts);
        fields
    }
}

/// One line, without controls: nothing in it can look like another line of a prompt.
pub(super) fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).collect()
}

fn checked(text: Option<String>, longest: usize, field: impl FnOnce() -> String) -> Result<Option<String>, Unfit> {
    let Some(text) = text.map(|text| line(&text)).filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > longest {
        return Err(Unfit { field: field(), reason: format!("at most {longest} characters") });
    }
    Ok(Some(text))
}

fn checked_list(list: Vec<String>, most: usize, field: &str) -> Result<Vec<String>, Unfit> {
    if list.len() > most {
        return Err(Unfit { field: field.to_owned(), reason: format!("at most {most} entries") });
    }
    let checked = list
        .into_iter()
        .enumerate()
        .map(|(place, entry)| checked(Some(entry), ENTRY_CHARS, || format!("{field}.{place}")));
    let kept: Vec<Option<String>> = checked.collect::<Result<_, _>>()?;
    Ok(kept.into_iter().flatten().collect())
}

fn checked_prompts(SuggestedPrompts(themes): SuggestedPrompts) -> Result<SuggestedPrompts, Unfit> {
    const FIELD: &str = "suggested_prompts";
    if themes.len() > THEMES {
        return Err(Unfit { field: FIELD.to_owned(), reason: format!("at most {THEMES} themes") });
    }
    let mut checked_themes = Vec::with_capacity(themes.len());
    for (place, theme) in themes.into_iter().enumerate() {
        let name = checked(Some(theme.name), THEME_CHARS, || format!("{FIELD}.{place}.name"))?;
        let prompts = checked_list(theme.prompts, PROMPTS, &format!("{FIELD}.{place}.prompts"))?;
        let Some(name) = name else {
            return Err(Unfit { field: format!("{FIELD}.{place}.name"), reason: "must not be blank".to_owned() });
        };
        checked_themes.push(Theme { name, prompts });
    }
    Ok(SuggestedPrompts(checked_themes))
}
