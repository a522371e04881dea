//! Whoever comes back, wherever they were, has the same message as whoever stayed.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::client::{Client, Rest, message_of};
use crate::system::System;

/// Thoughts, text, two tools, and text again: everything that a turn can hold.
const RICH: &str = "demo:reasoning=5 demo:tokens=20,rate=30,bytes=6 demo:tool=calculator,args={\"expression\":\"6*7\"} \
     demo:tool=get_current_time,args={} demo:tokens=25,rate=30,bytes=5";

async fn whole(client: &Client, session: &str, message: &str) -> Rest {
    let rest = client.send(session, message).await.rest().await;
    assert!(rest.done);
    rest
}

#[tokio::test]
async fn every_cursor_gets_exactly_the_later_chunks() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let live = whole(&ann, &session, RICH).await;
    let turn = live.turn();
    let last = u64::try_from(live.events.len()).unwrap();
    assert_eq!(live.sequences(), (1..=last).collect::<Vec<_>>(), "1, 2, 3, … without holes");
    for cursor in 0..last {
        let rest = ann.replay(&session, &turn, Some(&format!("{turn}:{cursor}"))).await.unwrap().rest().await;
        assert!(rest.done);
        assert_eq!(rest.events, live.events[usize::try_from(cursor).unwrap()..], "behind {cursor}");
    }
    let end = ann.replay(&session, &turn, Some(&format!("{turn}:{last}"))).await;
    assert_eq!(end.err(), Some(StatusCode::NO_CONTENT));
}

#[tokio::test]
async fn a_late_client_folds_to_the_same_message_at_every_cut() {
    let system = System::start(2, 1).await;
    let (ann, elsewhere) = (system.client(0, "ann"), system.client(1, "ann"));
    let session = ann.session().await;
    let mut stream = ann.send(&session, RICH).await;
    let mut live = Vec::new();
    let mut late = Vec::new();
    loop {
        let event = stream.next().await.expect("the turn ends with [DONE]");
        if event.data == "[DONE]" {
            break;
        }
        live.push(event);
        // At each chunk another client comes, on the other API.
        let (elsewhere, session) = (elsewhere.clone(), session.clone());
        late.push(tokio::spawn(async move {
            match elsewhere.resume(&session, None).await {
                Ok(stream) => Some(stream.rest().await),
                Err(_) => None,
            }
        }));
    }
    let expected = message_of(live.iter().map(crate::client::Event::chunk).collect());
    let late: Vec<Rest> = join_all(late).await.into_iter().filter_map(|rest| rest.unwrap()).collect();
    // One that a busy server held open until the turn had ended is cut without a chunk, and asks again.
    let late: Vec<Rest> = late.into_iter().filter(|rest| rest.done || !rest.events.is_empty()).collect();
    assert!(late.len() > 10, "{} clients came in mid-turn", late.len());
    for rest in late {
        assert!(rest.done, "{:?}", rest.comments);
        assert!(matches!(rest.chunks()[0], Chunk::Start { .. }));
        assert_eq!(rest.message(), expected);
        // The only id within the replay is that of its last frame; the tail counts on from it.
        let sequences = rest.sequences();
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    }
    assert_eq!(elsewhere.resume(&session, None).await.err(), Some(StatusCode::NO_CONTENT));
    let turn = live[0].id.unwrap().turn_id.to_string();
    let compacted = elsewhere.replay(&session, &turn, None).await.unwrap().rest().await;
    assert_eq!(compacted.message(), expected);
    assert!(compacted.events.len() < 25, "the replay has {} chunks", compacted.events.len());
    assert_eq!(compacted.sequences(), [live.last().unwrap().id.unwrap().sequence]);
}

#[tokio::test]
async fn a_client_that_loses_its_connection_again_and_again_misses_nothing() {
    let system = System::start(2, 1).await;
    let session = system.client(0, "ann").session().await;
    let says = "demo:tokens=150,rate=300,bytes=4";
    let mut stream = system.client(0, "ann").send(&session, says).await;
    let mut events = Vec::new();
    for n in 0.. {
        let mut done = false;
        for _ in 0..7 {
            let event = stream.next().await.expect("the stream goes on");
            done = event.data == "[DONE]";
            if done {
                break;
            }
            events.push(event);
        }
        if done {
            break;
        }
        let cursor = events.last().unwrap().id.unwrap().to_string();
        match system.client(n, "ann").resume(&session, Some(&cursor)).await {
            Ok(resumed) => stream = resumed,
            Err(status) => {
                assert_eq!(status, StatusCode::NO_CONTENT, "the cursor was the end");
                break;
            }
        }
    }
    let sequences: Vec<u64> = events.iter().map(|event| event.id.unwrap().sequence).collect();
    assert_eq!(sequences, (1..=u64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    let rest = Rest { events, done: true, comments: Vec::new() };
    assert_eq!(rest.text().len(), 600);
}

#[tokio::test]
async fn bad_cursors_are_told_apart() {
    let system = System::start(1, 1).await;
    let (ann, bob) = (system.client(0, "ann"), system.client(0, "bob"));
    let (session, other) = (ann.session().await, ann.session().await);
    let live = whole(&ann, &session, "demo:tokens=3").await;
    let turn = live.turn();
    let last = live.events.len();
    let status = async |cursor: &str| ann.resume(&session, Some(cursor)).await.err().map(|s| s.as_u16());
    assert_eq!(status("nonsense").await, Some(400));
    assert_eq!(status(&format!("{turn}:{}", last + 1)).await, Some(400));
    assert_eq!(status(&format!("{turn}:{last}")).await, Some(204));
    assert_eq!(status("00000000-0000-7000-8000-000000000000:1").await, Some(410));
    assert_eq!(status("").await, Some(204), "an empty cursor is none, and nothing is in flight");
    assert_eq!(ann.resume(&other, Some(&format!("{turn}:1"))).await.err().map(|s| s.as_u16()), Some(410));
    assert_eq!(bob.resume(&session, Some(&format!("{turn}:1"))).await.err().map(|s| s.as_u16()), Some(404));
    assert_eq!(bob.replay(&session, &turn, None).await.err().map(|s| s.as_u16()), Some(404));
    assert_eq!(ann.replay(&other, &turn, None).await.err().map(|s| s.as_u16()), Some(404));
    // A client's library sends its POST again, with a cursor: it resumes and submits nothing.
    let again = ann
        .request(reqwest::Method::POST, &format!("/sessions/{session}/stream"))
        .header("Last-Event-ID", format!("{turn}:0"))
        .json(&serde_json::json!({"message": "again"}))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(ann.get(&format!("/sessions/{session}/turns")).await["turns"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_expired_turn_is_gone_and_its_answer_stays_in_the_history() {
    let system = System::start_with(1, 1, &[("CHAT_STREAM_TTL", "1")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let live = whole(&ann, &session, "demo:tokens=3").await;
    let turn = live.turn();
    copilot_shared::testing::eventually("the stream expires", Duration::from_secs(10), || async {
        let status = ann.replay(&session, &turn, None).await.err();
        (status == Some(StatusCode::GONE)).then_some(())
    })
    .await;
    assert_eq!(ann.resume(&session, Some(&format!("{turn}:1"))).await.err(), Some(StatusCode::GONE));
    let detail = ann.get(&format!("/sessions/{session}")).await;
    assert_eq!(detail["messages"][1]["content"].as_str().unwrap(), live.text());
}

#[tokio::test]
async fn two_apis_and_two_workers_serve_one_chat() {
    let system = System::start(2, 2).await;
    let session = system.client(0, "ann").session().await;
    let mut answers = Vec::new();
    for n in 0..6 {
        let rest = whole(
            &system.client(n, "ann"),
            &session,
            &if n < 5 { format!("Message number {n}.") } else { "What did I say first?".to_owned() },
        )
        .await;
        answers.push(rest.text());
    }
    assert!(answers[5].contains("Message number 0"), "the history is one: {}", answers[5]);
    let detail = system.client(1, "ann").get(&format!("/sessions/{session}?limit=200")).await;
    let texts: Vec<&str> = detail["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message["role"] == "assistant")
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts, answers, "the history equals the streams");
}
