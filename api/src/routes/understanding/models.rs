//! What the understanding of a user looks like on the wire.

use copilot_shared::understanding::{Business, Learned, SuggestedPrompts, Theme, Understanding, Unfit};
use poem_openapi::Object;
use serde::Deserialize;

use crate::problem::{FieldError, Problem};
use crate::routes::Nullable;

/// Prompts of one kind.
#[derive(Debug, Deserialize, Object)]
#[oai(rename = "SuggestedTheme")]
pub(super) struct ThemeModel {
    /// What they have in common.
    name: String,
    /// In order.
    prompts: Vec<String>,
}

/// What the caller might ask.
#[derive(Debug, Object)]
pub(super) struct SuggestedPromptsResponse {
    /// In order.
    themes: Vec<ThemeModel>,
}

/// What the caller does.
#[derive(Debug, Object)]
#[oai(rename = "BusinessUnderstanding")]
pub(super) struct BusinessResponse {
    /// Their job.
    job_title: Nullable<String>,
    /// Where they work.
    business_name: Nullable<String>,
    /// What the business does.
    industry: Nullable<String>,
    /// How large it is.
    business_size: Nullable<String>,
    /// What they are to the business.
    user_role: Nullable<String>,
    /// What fits nowhere else.
    additional_notes: Nullable<String>,
    /// The workflows that matter.
    key_workflows: Vec<String>,
    /// What they do every day.
    daily_activities: Vec<String>,
    /// What annoys them.
    pain_points: Vec<String>,
    /// What slows them down.
    bottlenecks: Vec<String>,
    /// What they do by hand, again and again.
    manual_tasks: Vec<String>,
    /// What they want to be done for them.
    automation_goals: Vec<String>,
    /// What they work with.
    current_software: Vec<String>,
    /// What is automated already.
    existing_automation: Vec<String>,
}

/// What is known of the caller.
#[derive(Debug, Object)]
pub(super) struct UnderstandingResponse {
    /// What they are called.
    name: Nullable<String>,
    /// What they do.
    business: BusinessResponse,
    /// What they might ask.
    suggested_prompts: Vec<ThemeModel>,
}

/// What the caller does. Texts of at most 300 characters (notes 1,000), lists of at most 25 entries
/// of at most 200 characters; line breaks become spaces.
#[derive(Debug, Default, Deserialize, Object)]
#[oai(rename = "UpdateBusiness")]
pub(super) struct BusinessChange {
    /// Their job.
    job_title: Option<String>,
    /// Where they work.
    business_name: Option<String>,
    /// What the business does.
    industry: Option<String>,
    /// How large it is.
    business_size: Option<String>,
    /// What they are to the business.
    user_role: Option<String>,
    /// What fits nowhere else.
    additional_notes: Option<String>,
    /// The workflows that matter.
    key_workflows: Option<Vec<String>>,
    /// What they do every day.
    daily_activities: Option<Vec<String>>,
    /// What annoys them.
    pain_points: Option<Vec<String>>,
    /// What slows them down.
    bottlenecks: Option<Vec<String>>,
    /// What they do by hand, again and again.
    manual_tasks: Option<Vec<String>>,
    /// What they want to be done for them.
    automation_goals: Option<Vec<String>>,
    /// What they work with.
    current_software: Option<Vec<String>>,
    /// What is automated already.
    existing_automation: Option<Vec<String>>,
}

/// What should be known of the caller.
#[derive(Debug, Deserialize, Object)]
pub(super) struct UpdateUnderstandingRequest {
    /// What they are called.
    name: Option<String>,
    /// What they do.
    business: Option<BusinessChange>,
    /// What they might ask: at most 10 themes of at most 10 prompts. Replaced as a whole.
    suggested_prompts: Option<Vec<ThemeModel>>,
}

impl UpdateUnderstandingRequest {
    /// As it will be believed, or what is wrong with it.
    pub(super) fn learned(self) -> Result<Learned, Problem> {
        let prompts = self.suggested_prompts.map(|themes| {
            let theme = |theme: ThemeModel| Theme { name: theme.name, prompts: theme.prompts };
            SuggestedPrompts(themes.into_iter().map(theme).collect())
        });
        let business = self.business.unwrap_or_default().into();
        Learned::new(self.name, business, prompts)
            .map_err(|Unfit { field, reason }| Problem::invalid(FieldError::in_body(&field, "value_error", reason)))
    }
}

impl From<BusinessChange> for Business {
    fn from(change: BusinessChange) -> Self {
        Self {
            job_title: change.job_title,
            business_name: change.business_name,
            industry: change.industry,
            business_size: change.business_size,
            user_role: change.user_role,
            additional_notes: change.additional_notes,
            key_workflows: change.key_workflows.unwrap_or_default(),
            daily_activities: change.daily_activities.unwrap_or_default(),
            pain_points: change.pain_points.unwrap_or_default(),
            bottlenecks: change.bottlenecks.unwrap_or_default(),
            manual_tasks: change.manual_tasks.unwrap_or_default(),
            automation_goals: change.automation_goals.unwrap_or_default(),
            current_software: change.current_software.unwrap_or_default(),
            existing_automation: change.existing_automation.unwrap_or_default(),
            ..Self::default()
        }
    }
}

impl From<Business> for BusinessResponse {
    fn from(business: Business) -> Self {
        Self {
            job_title: business.job_title.into(),
            business_name: business.business_name.into(),
            industry: business.industry.into(),
            business_size: business.business_size.into(),
            user_role: business.user_role.into(),
            additional_notes: business.additional_notes.into(),
            key_workflows: business.key_workflows,
            daily_activities: business.daily_activities,
            pain_points: business.pain_points,
            bottlenecks: business.bottlenecks,
            manual_tasks: business.manual_tasks,
            automation_goals: business.automation_goals,
            current_software: business.current_software,
            existing_automation: business.existing_automation,
        }
    }
}

impl From<SuggestedPrompts> for SuggestedPromptsResponse {
    fn from(prompts: SuggestedPrompts) -> Self {
        Self { themes: themes(prompts) }
    }
}

impl From<Understanding> for UnderstandingResponse {
    fn from(known: Understanding) -> Self {
        Self {
            name: known.name.into(),
            business: known.business.into(),
            suggested_prompts: themes(known.suggested_prompts),
        }
    }
}

fn themes(SuggestedPrompts(themes): SuggestedPrompts) -> Vec<ThemeModel> {
    themes.into_iter().map(|theme| ThemeModel { name: theme.name, prompts: theme.prompts }).collect()
}
