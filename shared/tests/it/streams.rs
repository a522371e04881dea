//! The fenced append, and reading behind any cursor.

use copilot_shared::chunk::{Chunk, Frame, parse_frames};
use copilot_shared::fold::Fold;
use copilot_shared::id::{PartId, TurnId};
use copilot_shared::stream::{Append, Appended};
use copilot_shared::testing::Services;
use copilot_shared::turn::{Attempt, FinishReason, TurnEnd};

fn delta(text: &str) -> Frame {
    Frame::Chunk(None, Chunk::TextDelta { id: PartId::nth(1), delta: text.to_owned() })
}

fn opening(turn: TurnId) -> Vec<Frame> {
    [Chunk::Start { message_id: turn }, Chunk::StartStep, Chunk::TextStart { id: PartId::nth(1) }]
        .into_iter()
        .map(|chunk| Frame::Chunk(None, chunk))
        .collect()
}

#[tokio::test]
async fn an_append_is_refused_to_an_older_attempt_and_after_the_end() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    let first = Append::of(turn, Attempt(1), 0, &opening(turn));
    assert_eq!(streams.append(&first).await.unwrap(), Appended::Stored);
    assert_eq!(streams.append(&first).await.unwrap(), Appended::Stored, "a repetition changes nothing");
    assert_eq!(streams.raise(turn, Attempt(2), 0).await.unwrap(), Appended::Stored);
    let stale = Append::of(turn, Attempt(1), 3, &[delta("x")]);
    assert_eq!(streams.append(&stale).await.unwrap(), Appended::Fenced);
    let hole = Append::of(turn, Attempt(2), 7, &[delta("x")]);
    assert_eq!(streams.append(&hole).await.unwrap(), Appended::Gap(3));
    let fold = streams.read_fold(turn).await.unwrap().unwrap();
    let end = fold.ending(turn, &TurnEnd::Completed(FinishReason::Stop));
    let end: Vec<Frame> = end.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
    let end = Append::of(turn, Attempt(2), 3, &end);
    assert_eq!(streams.append(&end).await.unwrap(), Appended::Stored);
    assert_eq!(streams.append(&end).await.unwrap(), Appended::Closed);
    let late = Append::of(turn, Attempt(3), 6, &[delta("x")]);
    assert_eq!(streams.append(&late).await.unwrap(), Appended::Closed);
    let meta = streams.meta(turn).await.unwrap().unwrap();
    assert_eq!((meta.last, meta.closed, meta.base), (6, true, 0));
}

#[tokio::test]
async fn every_cursor_gets_exactly_the_later_chunks() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    let mut last = 0;
    let mut frames = opening(turn);
    for size in [1, 4, 2, 7] {
        frames.extend((0..size).map(|n| delta(&format!("{size}.{n} "))));
        let append = Append::of(turn, Attempt(1), last, &frames);
        last = append.last;
        assert_eq!(streams.append(&append).await.unwrap(), Appended::Stored);
        frames.clear();
    }
    for cursor in 0..=last {
        let stored = streams.read_after(turn, cursor).await.unwrap();
        let sequences: Vec<u64> = stored
            .batches
            .iter()
            .flat_map(|batch| parse_frames(&batch.frames_from(cursor + 1)).unwrap())
            .map(|frame| match frame {
                Frame::Chunk(sequence, _) => sequence.unwrap(),
                Frame::Usage(_) => panic!("no usage was written"),
            })
            .collect();
        assert_eq!(sequences, (cursor + 1..=last).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_fold_from_a_snapshot_equals_the_fold_of_everything() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    let mut whole = Fold::default();
    let mut last = 0;
    for round in 0..6 {
        let frames = if round == 0 { opening(turn) } else { vec![delta("some "), delta("text ")] };
        let mut append = Append::of(turn, Attempt(1), last, &frames);
        whole.apply_frames(frames);
        last = append.last;
        whole.sequence = last;
        if round == 3 {
            append.snapshot = Some(whole.to_snapshot());
        }
        streams.append(&append).await.unwrap();
    }
    assert_eq!(streams.read_fold(turn).await.unwrap().unwrap(), whole);
    assert_eq!(streams.read_fold(TurnId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_stream_is_noticed_and_begun_anew_behind_what_was_sent() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    streams.append(&Append::of(turn, Attempt(1), 0, &opening(turn))).await.unwrap();
    streams.forget(turn).await.unwrap();
    let mut next = Append::of(turn, Attempt(1), 3, &[delta("more")]);
    assert_eq!(streams.append(&next).await.unwrap(), Appended::Lost);
    next.anew = true;
    assert_eq!(streams.append(&next).await.unwrap(), Appended::Stored);
    let meta = streams.meta(turn).await.unwrap().unwrap();
    assert_eq!((meta.base, meta.last), (3, 4));
}

#[tokio::test]
async fn a_lost_stream_is_not_taken_for_one_that_never_began() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    assert_eq!(streams.raise(turn, Attempt(2), 3).await.unwrap(), Appended::Lost);
    assert_eq!(streams.meta(turn).await.unwrap(), None, "nothing is begun in passing");
    assert_eq!(streams.raise(turn, Attempt(2), 0).await.unwrap(), Appended::Stored);
}

#[tokio::test]
async fn a_stream_that_lost_its_end_is_begun_anew_and_one_that_did_not_is_left_alone() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    streams.append(&Append::of(turn, Attempt(1), 0, &opening(turn))).await.unwrap();
    // As if Redis had come back without the chunks 4 to 7.
    let mut next = Append::of(turn, Attempt(1), 7, &[delta("more")]);
    assert_eq!(streams.append(&next).await.unwrap(), Appended::Gap(3));
    assert_eq!(streams.raise(turn, Attempt(2), 7).await.unwrap(), Appended::Lost);
    next.anew = true;
    assert_eq!(streams.append(&next).await.unwrap(), Appended::Stored);
    assert_eq!(streams.append(&next).await.unwrap(), Appended::Stored, "a repetition changes nothing");
    let meta = streams.meta(turn).await.unwrap().unwrap();
    assert_eq!((meta.base, meta.last), (7, 8));

    let mut fold = Fold::default();
    fold.sequence = 7;
    assert_eq!(streams.begin_anew(turn, Attempt(2), &fold).await.unwrap(), Appended::Stored);
    let stored = streams.read_after(turn, 7).await.unwrap();
    assert_eq!(stored.batches.len(), 1, "it reaches further than that, so it is not begun anew");
}

#[tokio::test]
async fn a_channel_names_its_turn() {
    let services = Services::isolated().await;
    let streams = services.streams();
    let turn = TurnId::generate();
    assert_eq!(streams.turn_of_channel(&streams.channel(turn)), Some(turn));
    assert_eq!(streams.turn_of_channel("something else"), None);
}
