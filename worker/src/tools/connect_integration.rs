//! `connect_integration`: asks the user to connect a provider, which their client then shows a card
//! for (`usage-tools.md` §7.9).

use std::collections::{BTreeMap, BTreeSet};

use copilot_shared::tool::setup::{CredentialsNeed, Requirements, SetupInfo, SetupRequirements, UserReadiness};
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};

/// Asks the user to connect a provider.
pub(super) struct ConnectIntegration;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The provider: github.
    // No enum: who names another one is told which there are, with a code of its own.
    #[schemars(length(max = 100))]
    provider: String,
    /// Why it is needed, for the user.
    #[schemars(length(max = 500))]
    reason: Option<String>,
    /// What it must allow, in the provider's words; repo if left out.
    #[serde(default)]
    #[schemars(length(max = 50))]
    scopes: Vec<String>,
}

struct Provider {
    id: &'static str,
    name: &'static str,
    scopes: &'static [&'static str],
}

const PROVIDERS: [Provider; 1] = [Provider { id: "github", name: "GitHub", scopes: &["repo"] }];

impl Tool for ConnectIntegration {
    type Arguments = Arguments;
    const NAME: &'static str = "connect_integration";
    const DESCRIPTION: &'static str = "Asks the user to connect an account of a provider (github) when something \
        cannot be done without it. Then wait for them to say that it is connected.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, _: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        Ok(asked(&arguments))
    }
}

fn asked(arguments: &Arguments) -> ToolAnswer {
    let wanted = arguments.provider.trim().to_lowercase();
    let Some(provider) = PROVIDERS.iter().find(|provider| provider.id == wanted) else {
        let known: Vec<&str> = PROVIDERS.iter().map(|provider| provider.id).collect();
        let message = format!("There is no provider {wanted:?}. There are: {}.", known.join(", "));
        return ToolAnswer::error("unknown_provider", message);
    };
    let named: BTreeSet<&str> =
        arguments.scopes.iter().map(|scope| scope.trim()).filter(|scope| !scope.is_empty()).collect();
    let scopes = if named.is_empty() { provider.scopes.iter().copied().collect() } else { named };
    let need = CredentialsNeed {
        id: format!("{}_credentials", provider.id),
        title: format!("{} credentials", provider.name),
        provider: provider.id.into(),
        provider_name: None,
        r#type: None,
        types: vec!["api_key".into()],
        scopes: scopes.into_iter().map(str::to_owned).collect(),
    };
    let reason = arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let message = match reason {
        Some(reason) => format!("Please connect {}: {reason}", provider.name),
        None => format!("Please connect {}.", provider.name),
    };
    let info = SetupInfo {
        agent_id: provider.id.into(),
        agent_name: provider.name.into(),
        requirements: Requirements { credentials: vec![need.clone()], ..Requirements::default() },
        user_readiness: UserReadiness {
            missing_credentials: BTreeMap::from([(need.id.clone(), need)]),
            ..UserReadiness::default()
        },
    };
    let response = SetupRequirements { setup_info: info, graph_id: None, graph_version: None };
    ToolAnswer::new(message, ToolResponse::SetupRequirements(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ask(arguments: Value) -> Value {
        serde_json::to_value(asked(&serde_json::from_value(arguments).unwrap())).unwrap()
    }

    #[test]
    fn the_user_is_asked_for_what_is_missing() {
        let card = ask(json!({"provider": " GitHub ", "reason": "to read your issues"}));
        assert_eq!(
            (&card["type"], &card["message"]),
            (&json!("setup_requirements"), &json!("Please connect GitHub: to read your issues"))
        );
        let need = json!({"id": "github_credentials", "title": "GitHub credentials", "provider": "github",
            "types": ["api_key"], "scopes": ["repo"]});
        let setup = &card["setup_info"];
        assert_eq!(setup["requirements"], json!({"credentials": [need], "inputs": [], "execution_modes": []}));
        let missing = json!({"github_credentials": need});
        assert_eq!(
            setup["user_readiness"],
            json!({"has_all_credentials": false, "missing_credentials": missing, "ready_to_run": false})
        );
    }

    #[test]
    fn scopes_are_sorted_and_an_unknown_provider_names_the_known() {
        let card = ask(json!({"provider": "github", "scopes": ["workflow", " ", "repo", "workflow"]}));
        assert_eq!(card["setup_info"]["requirements"]["credentials"][0]["scopes"], json!(["repo", "workflow"]));
        let unknown = ask(json!({"provider": "gitlab"}));
        assert_eq!(unknown["error"], "unknown_provider");
        assert!(unknown["message"].as_str().unwrap().contains("github"));
    }
}
