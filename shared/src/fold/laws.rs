//! The laws of the fold, for any turn that could have been written.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::turn::{ErrorCode, Failure};

/// What a worker may do next; invalid moves are skipped, so every sequence is a possible turn.
#[derive(Debug, Clone)]
enum Move {
    Step,
    Text,
    Reason,
    Delta(String),
    ClosePart,
    CallTool,
    ToolDelta(String),
    ToolInput,
    ToolOutput { preliminary: bool },
    ToolError,
    EndStep,
    Takeover,
    Finish(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => Just(Move::Step),
        2 => Just(Move::Text),
        1 => Just(Move::Reason),
        8 => "[a-z\\n\"é]{0,4}".prop_map(Move::Delta),
        1 => Just(Move::ClosePart),
        1 => Just(Move::CallTool),
        2 => "[a-z{}\"]{0,4}".prop_map(Move::ToolDelta),
        2 => Just(Move::ToolInput),
        2 => any::<bool>().prop_map(|preliminary| Move::ToolOutput { preliminary }),
        1 => Just(Move::ToolError),
        1 => Just(Move::EndStep),
        1 => Just(Move::Takeover),
        1 => (0..3u8).prop_map(Move::Finish),
    ];
    prop::collection::vec(one, 0..60)
}

/// Plays the moves as a worker would and returns every chunk.
#[expect(clippy::too_many_lines, reason = "one arm a move, and no more than that")]
fn written(moves: Vec<Move>) -> Vec<Chunk> {
    let turn = TurnId::generate();
    let mut fold = Fold::default();
    let mut chunks = Vec::new();
    let mut attempt = 1;
    let mut calls = 0;
    let mut send = |fold: &mut Fold, chunk: Chunk| {
        fold.apply(chunk.clone());
        chunks.push(chunk);
    };
    send(&mut fold, Chunk::Start { message_id: turn });
    for next in moves {
        let open_part = fold.closing_parts().last().cloned();
        let open_tool = fold.open_tools().last().cloned();
        match next {
            Move::Step if !fold.in_step() => send(&mut fold, Chunk::StartStep),
            Move::Text if fold.in_step() && open_part.is_none() => {
                let id = fold.next_part();
                send(&mut fold, Chunk::TextStart { id });
            }
            Move::Reason if fold.in_step() && open_part.is_none() => {
                let id = fold.next_part();
                send(&mut fold, Chunk::ReasoningStart { id });
            }
            Move::Delta(delta) => match open_part {
                Some(Chunk::TextEnd { id }) => send(&mut fold, Chunk::TextDelta { id, delta }),
                Some(Chunk::ReasoningEnd { id }) => send(&mut fold, Chunk::ReasoningDelta { id, delta }),
                _ => {}
            },
            Move::ClosePart => {
                if let Some(end) = open_part {
                    send(&mut fold, end);
                }
            }
            Move::CallTool if fold.in_step() => {
                calls += 1;
                let tool_call_id = ToolCallId(format!("call_{calls}"));
                send(&mut fold, Chunk::ToolInputStart { tool_call_id, tool_name: "t".into(), provider_executed: true });
            }
            Move::ToolDelta(input_text_delta) => {
                if let Some(tool_call_id) = open_tool.filter(|call| !fold.has_tool_input(call)) {
                    send(&mut fold, Chunk::ToolInputDelta { tool_call_id, input_text_delta });
                }
            }
            Move::ToolInput => {
                if let Some(tool_call_id) = open_tool.filter(|call| !fold.has_tool_input(call)) {
                    let (tool_name, input) = ("t".into(), json!({"a": 1}));
                    send(
                        &mut fold,
                        Chunk::ToolInputAvailable { tool_call_id, tool_name, input, provider_executed: true },
                    );
                }
            }
            Move::ToolOutput { preliminary } => {
                if let Some(tool_call_id) = open_tool.filter(|call| fold.has_tool_input(call)) {
                    let preliminary = preliminary.then_some(true);
                    send(&mut fold, Chunk::ToolOutputAvailable { tool_call_id, output: json!("out"), preliminary });
                }
            }
            Move::ToolError => {
                if let Some(tool_call_id) = open_tool {
                    send(&mut fold, Chunk::ToolOutputError { tool_call_id, error_text: "no".into() });
                }
            }
            Move::EndStep => {
                for chunk in fold.closing("unanswered") {
                    send(&mut fold, chunk);
                }
            }
            Move::Takeover => {
                attempt += 1;
                for chunk in fold.retrying(Attempt(attempt)) {
                    send(&mut fold, chunk);
                }
            }
            Move::Finish(how) => {
                let end = match how {
                    0 => TurnEnd::Completed(FinishReason::Stop),
                    1 => TurnEnd::Cancelled,
                    _ => TurnEnd::Failed(Failure::new(ErrorCode::ProviderError, "broke")),
                };
                for chunk in fold.ending(turn, &end) {
                    send(&mut fold, chunk);
                }
                break;
            }
            Move::Step | Move::Text | Move::Reason | Move::CallTool => {}
        }
    }
    chunks
}

fn fold_of(chunks: impl IntoIterator<Item = Chunk>) -> Fold {
    let mut fold = Fold::default();
    for chunk in chunks {
        fold.apply(chunk);
    }
    fold
}

fn chunks_of(frames: Vec<Frame>) -> Vec<Chunk> {
    frames
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Chunk(_, chunk) => Some(chunk),
            Frame::Usage(_) => None,
        })
        .collect()
}

/// The part of the state that a client can see; part ids may have been counted in hidden steps.
fn seen(mut fold: Fold) -> Fold {
    fold.parts = 0;
    fold.sequence = 0;
    fold
}

proptest! {
    #[test]
    fn a_replay_and_the_tail_behind_it_fold_to_what_an_undisturbed_client_has(moves in moves(), cut in any::<prop::sample::Index>()) {
        let chunks = written(moves);
        let cut = cut.index(chunks.len() + 1);
        let whole = fold_of(chunks.clone());
        let mut late = fold_of(chunks_of(fold_of(chunks[..cut].to_vec()).replay()));
        for chunk in chunks[cut..].iter().cloned() {
            late.apply(chunk);
        }
        prop_assert_eq!(seen(late), seen(whole));
    }

    #[test]
    fn a_replay_grows_with_parts_and_not_with_deltas(moves in moves()) {
        let fold = fold_of(written(moves));
        prop_assert!(fold.replay().len() <= fold.items.len() * 3 + 5);
    }

    #[test]
    fn a_snapshot_restores_the_state(moves in moves()) {
        let fold = fold_of(written(moves));
        let stored = serde_json::to_vec(&fold).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Fold>(&stored).unwrap(), fold);
    }

    #[test]
    fn an_ended_turn_has_nothing_open(moves in moves()) {
        let turn = TurnId::generate();
        let mut fold = fold_of(written(moves));
        if !fold.has_ended() {
            for chunk in fold.ending(turn, &TurnEnd::Cancelled) {
                fold.apply(chunk);
            }
        }
        prop_assert!(fold.has_ended());
        prop_assert!(fold.closing("x").is_empty());
    }

    #[test]
    fn nothing_of_an_abandoned_step_is_replayed(moves in moves()) {
        let fold = fold_of(written(moves));
        let mut retried = fold.clone();
        for chunk in fold.retrying(Attempt(99)) {
            retried.apply(chunk);
        }
        if !fold.has_ended() && fold.in_step() {
            let start = fold.last_step_start().unwrap();
            prop_assert_eq!(&retried.items[..], &fold.items[..start]);
        }
    }
}
