//! The answer of a turn: what the script says, what the history says and what clients folded must
//! be one and the same.

use copilot_shared::chunk::{Chunk, Frame};
use copilot_shared::id::ToolCallId;
use copilot_shared::message::{HistoryMessage, Part, Role, ToolOutcome, text_of};
use copilot_shared::turn::TurnStatus;
use serde_json::Value;

use super::super::script::{Script, Step, WRITES, Wish};
use super::Case;
use super::rows::StepRow;
use crate::client::message_of;

/// What the embedded model says before it hangs.
const HANGING: &str = "Waiting until somebody stops me … ";

/// What is wrong with an answer.
pub fn findings(case: &Case<'_>, history: &[HistoryMessage], steps: &[StepRow]) -> Vec<String> {
    let mut findings = Vec::new();
    if !case.lossy {
        findings.extend(differs_from_history(case, history));
    }
    let Some(script) = case.script else { return findings };
    findings.extend(wrong_status(case, script.wish));
    if case.row.begun {
        findings.extend(wrong_words(case, script, history));
        findings.extend(wrong_outcomes(case, script, history));
    }
    findings.extend(wrong_charges(case, script, steps));
    findings
}

fn wrong_status(case: &Case<'_>, wish: Wish) -> Option<String> {
    let row = case.row;
    let code = row.error_code.as_deref();
    let fits = match row.status {
        TurnStatus::Completed => wish == Wish::Complete,
        TurnStatus::Cancelled => row.cancelled_by.is_some(),
        TurnStatus::Failed => {
            (wish == Wish::Fail && code == Some("provider_error")) || code == Some("attempts_exhausted")
        }
        TurnStatus::Queued | TurnStatus::Running => false,
    };
    (!fits).then(|| {
        format!(
            "it ended with {code:?} where the script says {wish:?} (attempts {}, losses {})",
            row.attempt, row.losses
        )
    })
}

/// What each model call said must be what the script says: in full where the call was committed
/// and went on, at least its beginning where it was stopped.
fn wrong_words(case: &Case<'_>, script: &Script, history: &[HistoryMessage]) -> Option<String> {
    let said: Vec<&HistoryMessage> = history.iter().filter(|message| message.role == Role::Assistant).collect();
    let whole = match case.row.status {
        TurnStatus::Completed => script.steps.len(),
        TurnStatus::Failed if case.row.error_code.as_deref() == Some("provider_error") => script.steps.len(),
        _ => said.len().saturating_sub(1),
    };
    if said.len() > script.steps.len() || said.len() < whole {
        return Some(format!("it has {} answers where the script has {}", said.len(), script.steps.len()));
    }
    for (at, (message, step)) in said.iter().zip(&script.steps).enumerate() {
        let (thought, text) = (thought_of(&message.parts), text_of(&message.parts));
        let last = at + 1 == script.steps.len();
        let expected =
            if last && script.wish == Wish::Hang { format!("{}{HANGING}", step.text) } else { step.text.clone() };
        let fits = if at < whole {
            text == expected && thought == step.thought
        } else {
            expected.starts_with(&text) && step.thought.starts_with(&thought)
        };
        if !fits {
            return Some(format!("step {} says {text:?} ({thought:?}) where the script says {expected:?}", at + 1));
        }
    }
    None
}

fn thought_of(parts: &[Part]) -> String {
    let thoughts = parts.iter().filter_map(|part| match part {
        Part::Reasoning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    thoughts.collect()
}

/// The `result` in an answer's JSON text.
fn result_in(output: &Value) -> Option<Value> {
    let answer: Value = serde_json::from_str(output.as_str()?).ok()?;
    answer.get("result").cloned()
}

/// Each call of a completed turn has the outcome that its arguments have.
fn wrong_outcomes(case: &Case<'_>, script: &Script, history: &[HistoryMessage]) -> Option<String> {
    if case.row.status != TurnStatus::Completed {
        return None;
    }
    let results = outcomes_of(history);
    let asked = history.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::ToolCall { id, name, input } => Some((id, name, input)),
        _ => None,
    });
    let asked: Vec<(&ToolCallId, &String, &Value)> = asked.collect();
    let wanted: Vec<_> = script.steps.iter().flat_map(|step: &Step| &step.calls).collect();
    if asked.len() != wanted.len() || results.len() != wanted.len() {
        return Some(format!(
            "it has {} calls and {} results where the script has {}",
            asked.len(),
            results.len(),
            wanted.len()
        ));
    }
    for ((id, name, _), call) in asked.iter().zip(wanted) {
        let outcome = results.iter().find(|(result, _)| result == *id).map(|(_, outcome)| outcome);
        let fits = *name == call.name
            && match (outcome, &call.output) {
                (Some(ToolOutcome::Output(output)), Some(expected)) => result_in(output).as_ref() == Some(expected),
                (Some(ToolOutcome::Output(_)), None) => true,
                // Its worker was lost, or the answer of a server: nobody knows. The files themselves are judged.
                (Some(ToolOutcome::Error(_)), None) => *name == WRITES,
                _ => false,
            };
        if !fits {
            return Some(format!("call {name} {} came to {outcome:?}", call.arguments));
        }
    }
    None
}

fn outcomes_of(history: &[HistoryMessage]) -> Vec<(ToolCallId, ToolOutcome)> {
    history
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| match part {
            Part::ToolResult { id, outcome, .. } => Some((id.clone(), outcome.clone())),
            _ => None,
        })
        .collect()
}

/// What the model reported is what was charged, once.
fn wrong_charges(case: &Case<'_>, script: &Script, steps: &[StepRow]) -> Option<String> {
    if case.row.status == TurnStatus::Completed
        && (steps.len() != script.steps.len() || steps.iter().any(|s| s.estimated))
    {
        return Some(format!("it was charged as {steps:?} where the script has {} steps", script.steps.len()));
    }
    for (row, wanted) in steps.iter().zip(1..) {
        let expected = script.steps.get(wanted - 1).map(Step::completion_tokens);
        if usize::try_from(row.step) != Ok(wanted) || (!row.estimated && Some(row.completion_tokens) != expected) {
            return Some(format!("it was charged {row:?} where the model reported {expected:?}"));
        }
    }
    None
}

/// A client's message, less what it hides, holds the words and outcomes of the history.
fn differs_from_history(case: &Case<'_>, history: &[HistoryMessage]) -> Option<String> {
    let folded: Vec<Chunk> = message_of(case.log.all())
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Chunk(_, chunk) => Some(chunk),
            Frame::Usage(_) => None,
        })
        .collect();
    let mut shown = Vec::new();
    let mut outcomes = Vec::new();
    for chunk in folded {
        match chunk {
            Chunk::TextDelta { id, delta } | Chunk::ReasoningDelta { id, delta } => shown.push((id, delta)),
            Chunk::ToolOutputAvailable { tool_call_id, output, .. } => {
                outcomes.push((tool_call_id, ToolOutcome::Output(output)));
            }
            Chunk::ToolOutputError { tool_call_id, error_text } => {
                outcomes.push((tool_call_id, ToolOutcome::Error(error_text)));
            }
            _ => {}
        }
    }
    let kept: Vec<_> = history
        .iter()
        .filter(|message| message.role == Role::Assistant)
        .flat_map(|message| &message.parts)
        .filter_map(|part| match part {
            Part::Text { id: Some(id), text } | Part::Reasoning { id, text, .. } => Some((id.clone(), text.clone())),
            _ => None,
        })
        .collect();
    if shown != kept {
        return Some(format!("clients have {shown:?} and the history {kept:?}"));
    }
    // Calls whose input never was complete are in no history: no model could make sense of them.
    let unshown = outcomes_of(history).into_iter().find(|outcome| !outcomes.contains(outcome));
    unshown.map(|outcome| format!("clients do not have the outcome {outcome:?}, they have {outcomes:?}"))
}
