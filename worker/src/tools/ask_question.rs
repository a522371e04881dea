//! `ask_question`: asks the user what the model must know before it can go on. The turn ends with
//! it and waits.

use std::collections::HashSet;

use copilot_shared::tool::builder::{ClarificationNeeded, ClarifyingQuestion};
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};

/// Asks the user.
pub(super) struct AskQuestion;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The questions, the most important first.
    #[schemars(length(min = 1, max = 10))]
    questions: Vec<Entry>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The question.
    #[schemars(length(min = 1, max = 1000))]
    question: String,
    /// What it is about, in a word; each its own.
    #[schemars(length(min = 1, max = 50))]
    keyword: String,
    /// A possible answer.
    #[schemars(length(max = 500))]
    example: Option<String>,
}

impl Tool for AskQuestion {
    type Arguments = Arguments;
    const NAME: &'static str = "ask_question";
    const DESCRIPTION: &'static str = "Asks the user questions and waits for the answers, which come as their next \
        message. Use it when you cannot go on without knowing, and ask everything at once. Say nothing after it.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, _: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        Ok(asked(arguments.questions))
    }
}

fn asked(questions: Vec<Entry>) -> ToolAnswer {
    let said = |text: &str| text.trim().to_owned();
    let questions: Vec<ClarifyingQuestion> = questions
        .into_iter()
        .map(|question| ClarifyingQuestion {
            question: said(&question.question),
            keyword: said(&question.keyword),
            example: question.example.as_deref().map(said).filter(|example| !example.is_empty()),
        })
        .collect();
    if questions.iter().any(|question| question.question.is_empty() || question.keyword.is_empty()) {
        return ToolAnswer::error("blank_question", "Every question needs words and a keyword.");
    }
    let keywords: HashSet<&str> = questions.iter().map(|question| question.keyword.as_str()).collect();
    if keywords.len() < questions.len() {
        return ToolAnswer::error("repeated_keyword", "Every question needs a keyword of its own.");
    }
    let message = questions.iter().map(|question| question.question.as_str()).collect::<Vec<_>>().join("\n");
    ToolAnswer::new(message, ToolResponse::ClarificationNeeded(ClarificationNeeded { questions }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(question: &str, keyword: &str) -> Entry {
        Entry { question: question.into(), keyword: keyword.into(), example: Some(" ".into()) }
    }

    #[test]
    fn questions_are_asked_as_they_are() {
        let answer = asked(vec![question(" Which one? ", "one"), question("When?", "time")]);
        assert_eq!(answer.message, "Which one?\nWhen?");
        let ToolResponse::ClarificationNeeded(needed) = answer.response else { panic!("it asks") };
        assert_eq!((needed.questions[0].keyword.as_str(), needed.questions[0].example.as_deref()), ("one", None));
    }

    #[test]
    fn answers_must_be_told_apart() {
        assert!(asked(vec![question("A?", "a"), question("B?", "a ")]).to_json().contains("repeated_keyword"));
        assert!(asked(vec![question("  ", "a")]).to_json().contains("blank_question"));
    }
}
