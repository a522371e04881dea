//! What a user might ask, by theme, in the order in which it is shown.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::learned::{ENTRY_CHARS, line};

/// The themes of the prompts that a model suggests, in the order in which they are shown.
pub const SUGGESTED_THEMES: [&str; 4] = ["Learn", "Create", "Automate", "Organize"];
/// Prompts that a model suggests of one theme.
pub const SUGGESTED_PROMPTS: usize = 5;
/// The longest prompt that a model suggests, in words.
pub const SUGGESTED_WORDS: usize = 20;

/// The theme of prompts that have none.
const GENERAL: &str = "General";

/// Prompts of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Theme {
    /// Its name.
    pub name: String,
    /// The prompts, in order.
    pub prompts: Vec<String>,
}

/// Themes in order. Written as a list, since the database keeps no order of an object's fields.
/// Read also from the reference's map of themes, and from its old bare list, whose theme is
/// `General`; what is no string is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SuggestedPrompts(pub Vec<Theme>);

impl SuggestedPrompts {
    /// What is fit to be shown of a model's answer, which should be a map of themes but may come
    /// with words around it. None if nothing is.
    pub fn from_model(answer: &str) -> Option<Self> {
        let map = answer.get(answer.find('{')?..=answer.rfind('}')?)?;
        let Self(said) = serde_json::from_str(map).ok()?;
        let fitting = SUGGESTED_THEMES.iter().filter_map(|&name| {
            let theme = said.iter().find(|theme| theme.name.trim().eq_ignore_ascii_case(name))?;
            let prompts = fit_to_be_shown(&theme.prompts);
            (!prompts.is_empty()).then(|| Theme { name: name.to_owned(), prompts })
        });
        let themes: Vec<Theme> = fitting.collect();
        (!themes.is_empty()).then_some(Self(themes))
    }
}

fn fit_to_be_shown(prompts: &[String]) -> Vec<String> {
    let mut fitting: Vec<String> = Vec::new();
    for prompt in prompts.iter().map(|prompt| line(prompt)) {
        let fits =
            !prompt.is_empty() && prompt.split(' ').count() <= SUGGESTED_WORDS && prompt.chars().count() <= ENTRY_CHARS;
        if fits && !fitting.contains(&prompt) && fitting.len() < SUGGESTED_PROMPTS {
            fitting.push(prompt);
        }
    }
    fitting
}

impl<'de> Deserialize<'de> for SuggestedPrompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = SuggestedPrompts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("prompts by theme")
    }

    fn visit_unit<E>(self) -> Result<SuggestedPrompts, E> {
        Ok(SuggestedPrompts::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SuggestedPrompts, A::Error> {
        let mut themes = Vec::new();
        while let Some((name, prompts)) = map.next_entry::<String, Value>()? {
            themes.push(Theme { name, prompts: strings(prompts) });
        }
        Ok(SuggestedPrompts(themes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SuggestedPrompts, A::Error> {
        let (mut themes, mut bare) = (Vec::new(), Vec::new());
        while let Some(element) = list.next_element::<Value>()? {
            match element {
                Value::String(prompt) => bare.push(prompt),
                Value::Object(mut theme) => {
                    if let Some(Value::String(name)) = theme.remove("name") {
                        themes.push(Theme { name, prompts: strings(theme.remove("prompts").unwrap_or_default()) });
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {}
            }
        }
        if !bare.is_empty() {
            themes.push(Theme { name: GENERAL.to_owned(), prompts: bare });
        }
        Ok(SuggestedPrompts(themes))
    }
}

fn strings(value: Value) -> Vec<String> {
    let Value::Array(elements) = value else { return Vec::new() };
    let only_strings = |element| if let Value::String(text) = element { Some(text) } else { None };
    elements.into_iter().filter_map(only_strings).collect()
}
