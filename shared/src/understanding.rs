//! What is known of a user and their business, and how it grows (`usage-tools.md` §5.5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod learned;
mod themes;

pub use learned::{Learned, Unfit};
pub use themes::{SUGGESTED_PROMPTS, SUGGESTED_THEMES, SUGGESTED_WORDS, SuggestedPrompts, Theme};

/// Entries of one list that are kept; the oldest go first.
pub const KEPT_ENTRIES: usize = 50;

/// Everything that is known of a user. Stored as JSON, so fields are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Understanding {
    /// What the user is called.
    pub name: Option<String>,
    /// What they do.
    pub business: Business,
    /// What they might ask, by theme.
    pub suggested_prompts: SuggestedPrompts,
    /// What a newer version of this program wrote: kept, since two versions run side by side.
    #[serde(flatten)]
    pub later: Map<String, Value>,
}

/// The version of [`Business`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u32);

impl Default for Version {
    fn default() -> Self {
        Self(1)
    }
}

/// What a user does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Business {
    /// The form of this.
    pub version: Version,
    /// The user's job.
    pub job_title: Option<String>,
    /// Where they work.
    pub business_name: Option<String>,
    /// What the business does.
    pub industry: Option<String>,
    /// How large it is.
    pub business_size: Option<String>,
    /// What they are to the business: owner, manager, employee …
    pub user_role: Option<String>,
    /// What fits nowhere else.
    pub additional_notes: Option<String>,
    /// The workflows that matter.
    pub key_workflows: Vec<String>,
    /// What they do every day.
    pub daily_activities: Vec<String>,
    /// What annoys them.
    pub pain_points: Vec<String>,
    /// What slows them down.
    pub bottlenecks: Vec<String>,
    /// What they do by hand, again and again.
    pub manual_tasks: Vec<String>,
    /// What they want to be done for them.
    pub automation_goals: Vec<String>,
    /// What they work with.
    pub current_software: Vec<String>,
    /// What is automated already.
    pub existing_automation: Vec<String>,
    /// What a newer version of this program wrote; never learned from outside.
    #[serde(flatten)]
    pub later: Map<String, Value>,
}

/// A text that a later one replaces, and its name.
type Text<T> = (&'static str, T);
/// A list that a later one adds to, and its name.
type List<T> = (&'static str, T);

impl Business {
    fn texts(&mut self) -> [Text<&mut Option<String>>; 6] {
        [
            ("job_title", &mut self.job_title),
            ("business_name", &mut self.business_name),
            ("industry", &mut self.industry),
            ("business_size", &mut self.business_size),
            ("user_role", &mut self.user_role),
            ("additional_notes", &mut self.additional_notes),
        ]
    }

    fn lists(&mut self) -> [List<&mut Vec<String>>; 8] {
        [
            ("key_workflows", &mut self.key_workflows),
            ("daily_activities", &mut self.daily_activities),
            ("pain_points", &mut self.pain_points),
            ("bottlenecks", &mut self.bottlenecks),
            ("manual_tasks", &mut self.manual_tasks),
            ("automation_goals", &mut self.automation_goals),
            ("current_software", &mut self.current_software),
            ("existing_automation", &mut self.existing_automation),
        ]
    }
}

impl Understanding {
    /// Takes in what was learned: texts replace, lists are added to without repeating themselves,
    /// suggested prompts are replaced as a whole. Learning the same again changes nothing.
    #[must_use]
    pub fn merge(mut self, learned: Learned) -> Self {
        let Learned { name, mut business, suggested_prompts } = learned;
        replace(&mut self.name, name);
        for ((_, known), (_, new)) in self.business.texts().into_iter().zip(business.texts()) {
            replace(known, new.take());
        }
        for ((_, known), (_, new)) in self.business.lists().into_iter().zip(business.lists()) {
            append(known, std::mem::take(new));
        }
        if let Some(prompts) = suggested_prompts {
            self.suggested_prompts = prompts;
        }
        self
    }

    /// Could a model suggest prompts, and does nobody have yet?
    pub fn wants_suggestions(&self) -> bool {
        self.suggested_prompts.0.is_empty() && !self.is_blank()
    }

    /// Nothing is known that a model should be told.
    pub fn is_blank(&self) -> bool {
        let mut business = self.business.clone();
        self.name.is_none()
            && business.texts().iter().all(|(_, text)| text.is_none())
            && business.lists().iter().all(|(_, list)| list.is_empty())
    }
}

fn replace(known: &mut Option<String>, new: Option<String>) {
    if new.is_some() {
        *known = new;
    }
}

fn append(known: &mut Vec<String>, new: Vec<String>) {
    for entry in new {
        if !known.contains(&entry) {
            known.push(entry);
        }
    }
    known.drain(..known.len().saturating_sub(KEPT_ENTRIES));
}

#[cfg(test)]
mod tests;
