//! `add_understanding`: remembers what a user says of themselves (`usage-tools.md` §5.5, §7.9).

use copilot_shared::tool::plain::UnderstandingUpdated;
use copilot_shared::tool::{JsonObject, Repeat, ToolAnswer, ToolResponse};
use copilot_shared::understanding::{Business, Learned, Understanding};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};

/// Remembers what a user says.
pub(super) struct AddUnderstanding;

/// Every field may be left out. Lists are added to what is known, texts replace it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct News {
    /// What the user is called.
    name: Option<String>,
    /// Their job.
    job_title: Option<String>,
    /// Where they work.
    business_name: Option<String>,
    /// What the business does.
    industry: Option<String>,
    /// How large it is, for example 1-10.
    business_size: Option<String>,
    /// What they are to it: owner, manager, employee.
    user_role: Option<String>,
    /// Workflows that matter to them.
    #[serde(default)]
    key_workflows: Vec<String>,
    /// What they do every day.
    #[serde(default)]
    daily_activities: Vec<String>,
    /// What annoys them.
    #[serde(default)]
    pain_points: Vec<String>,
    /// What slows them down.
    #[serde(default)]
    bottlenecks: Vec<String>,
    /// What they do by hand, again and again.
    #[serde(default)]
    manual_tasks: Vec<String>,
    /// What they want to be done for them.
    #[serde(default)]
    automation_goals: Vec<String>,
    /// What they work with.
    #[serde(default)]
    current_software: Vec<String>,
    /// What is automated already.
    #[serde(default)]
    existing_automation: Vec<String>,
    /// What fits nowhere else.
    additional_notes: Option<String>,
}

impl Tool for AddUnderstanding {
    type Arguments = News;
    const NAME: &'static str = "add_understanding";
    const DESCRIPTION: &'static str = "Remembers facts that the user states about themselves or their business, for \
        this and every later conversation. Only what they said, never guesses or secrets. At least one field.";
    const ACCESS: Access = Access::SignedIn;
    // Learning the same again changes nothing.
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, news: News) -> Result<ToolAnswer, ToolFailure> {
        let learned = match news.learned() {
            Ok(learned) => learned,
            Err(refusal) => return Ok(*refusal),
        };
        let fields = learned.fields();
        if fields.is_empty() {
            return Ok(ToolAnswer::error("no_fields", "Say at least one thing that is to be remembered."));
        }
        let known = context.resources.store.learn(context.fence(), context.user()?, learned).await?;
        let message = format!("Remembered: {}.", fields.join(", "));
        let response = UnderstandingUpdated {
            updated_fields: fields.into_iter().map(str::to_owned).collect(),
            current_understanding: told(&known)?,
        };
        Ok(ToolAnswer::new(message, ToolResponse::UnderstandingUpdated(response)))
    }
}

impl News {
    fn learned(self) -> Result<Learned, Box<ToolAnswer>> {
        let business = Business {
            job_title: self.job_title,
            business_name: self.business_name,
            industry: self.industry,
            business_size: self.business_size,
            user_role: self.user_role,
            additional_notes: self.additional_notes,
            key_workflows: self.key_workflows,
            daily_activities: self.daily_activities,
            pain_points: self.pain_points,
            bottlenecks: self.bottlenecks,
            manual_tasks: self.manual_tasks,
            automation_goals: self.automation_goals,
            current_software: self.current_software,
            existing_automation: self.existing_automation,
            ..Business::default()
        };
        Learned::new(self.name, business, None).map_err(|unfit| {
            let field = unfit.field.trim_start_matches("business.");
            Box::new(ToolAnswer::error("too_long", format!("`{field}`: {}. Say it in fewer words.", unfit.reason)))
        })
    }
}

/// What is known, without the prompts that only a page shows.
fn told(known: &Understanding) -> Result<JsonObject, ToolFailure> {
    let mut told = JsonObject::new();
    told.insert("name".into(), known.name.clone().into());
    told.insert("business".into(), serde_json::to_value(&known.business)?);
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::understanding::{SuggestedPrompts, Theme};

    #[test]
    fn what_is_blank_is_nothing_and_what_is_too_long_is_refused_by_its_name() {
        let blank = News { name: Some("  ".into()), pain_points: vec![String::new()], ..News::default() };
        assert!(blank.learned().unwrap().fields().is_empty());
        let long = News { pain_points: vec!["ok".into(), "x".repeat(201)], ..News::default() };
        assert!(long.learned().unwrap_err().message.starts_with("`pain_points.1`: at most 200 characters"));
    }

    #[test]
    fn the_model_is_not_told_of_suggested_prompts() {
        let prompts = SuggestedPrompts(vec![Theme { name: "Learn".into(), prompts: vec!["What?".into()] }]);
        let known = Understanding::default()
            .merge(Learned::new(Some("Ann".into()), Business::default(), Some(prompts)).unwrap());
        let told = told(&known).unwrap();
        assert_eq!(told.keys().collect::<Vec<_>>(), ["business", "name"]);
        assert_eq!(told["business"]["version"], 1);
    }
}
