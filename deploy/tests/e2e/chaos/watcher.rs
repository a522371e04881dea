//! Viewers: they leave, lose their connection, come back somewhere else, and note what they saw.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::id::TurnId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, sleep};

use super::arena::User;
use super::ledger::{Ending, Seen, Viewer};
use super::sender::Begun;
use crate::client::{Event, Stream};

/// Follows a turn by cursor to its end, over any number of connections.
pub async fn by_cursor(user: User, session: String, turn: TurnId, seed: u64, begun: Option<Begun>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut stream, events) = begun.map_or((None, Vec::new()), |begun| (Some(begun.stream), begun.events));
    let chaos = std::sync::Arc::clone(&user.chaos);
    let mut follower = Follower { user, turn, events };
    let ending = loop {
        let open = match stream.take() {
            Some(stream) => Ok(stream),
            None => follower.resume(&mut rng, &session).await,
        };
        let went_on = match open {
            // A stream that only beats its heart could be read for ever.
            Ok(stream) => chaos.in_time(follower.read(&mut rng, stream)).await.unwrap_or(Some(Ending::OutOfTime)),
            Err(ending) => ending,
        };
        if let Some(ending) = went_on {
            break ending;
        }
        if Instant::now() > chaos.settled_by() {
            break Ending::OutOfTime;
        }
    };
    let Follower { user, events, .. } = follower;
    user.chaos.ledger.saw(Seen { turn, viewer: Viewer::ByCursor, events, ending });
}

struct Follower {
    user: User,
    turn: TurnId,
    events: Vec<Event>,
}

impl Follower {
    /// Comes back behind the last chunk. `Err` without an ending means: not now.
    async fn resume(&self, rng: &mut StdRng, session: &str) -> Result<Stream, Option<Ending>> {
        let turn = self.turn;
        let last = self.events.last().and_then(|event| event.id).map_or(0, |id| id.sequence);
        let cursor = format!("{turn}:{last}");
        let request = if rng.random_bool(0.5) {
            self.user.request(rng, Method::GET, &format!("/sessions/{session}/stream")).header("Last-Event-ID", cursor)
        } else {
            self.user.request(rng, Method::GET, &format!("/sessions/{session}/turns/{turn}/stream?after={cursor}"))
        };
        if last > 0 {
            self.user.chaos.ledger.count("resumes");
        }
        match opened(&self.user, request.send().await).await {
            Opened::Stream(stream) => Ok(stream),
            Opened::Nothing => Err(Some(Ending::Done)),
            Opened::Refused(status) => Err(Some(Ending::Refused(status))),
            Opened::NotNow => Err(None),
        }
    }

    /// Reads until the end, or until this viewer or somebody else has had enough.
    async fn read(&mut self, rng: &mut StdRng, mut stream: Stream) -> Option<Ending> {
        let enough = if rng.random_bool(0.5) { rng.random_range(1..40) } else { usize::MAX };
        for _ in 0..enough {
            let event = stream.next().await?;
            if event.data == "[DONE]" {
                return Some(Ending::Done);
            }
            let Some(id) = event.id else {
                if event.data.contains("[code:stream_lost]") {
                    return Some(Ending::StreamLost);
                }
                continue;
            };
            if id.turn_id != self.turn {
                self.user.chaos.ledger.violation(format!("a viewer of turn {} got {id}", self.turn));
            }
            if matches!(event.chunk(), Chunk::DataRetry { .. }) {
                self.user.chaos.ledger.saw_retry();
            }
            self.events.push(event);
        }
        None
    }
}

/// Comes once without a cursor and stays; comes anew, with nothing, when the connection breaks.
pub async fn compacted(user: User, session: String, turn: TurnId, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
    let path = format!("/sessions/{session}/turns/{turn}/stream");
    let (events, ending) = loop {
        let answer = user.request(&mut rng, Method::GET, &path).send().await;
        match opened(&user, answer).await {
            Opened::Stream(stream) => match user.chaos.in_time(stream.rest()).await {
                Some(rest) if rest.done => {
                    let lost = rest.events.iter().any(|event| event.data.contains("[code:stream_lost]"));
                    break (rest.events, if lost { Ending::StreamLost } else { Ending::Done });
                }
                Some(_) | None => {}
            },
            Opened::Nothing => break (Vec::new(), Ending::Refused(StatusCode::NO_CONTENT.as_u16())),
            Opened::Refused(status) => break (Vec::new(), Ending::Refused(status)),
            Opened::NotNow => {}
        }
        if Instant::now() > user.chaos.settled_by() {
            break (Vec::new(), Ending::OutOfTime);
        }
    };
    user.chaos.ledger.saw(Seen { turn, viewer: Viewer::Compacted, events, ending });
}

enum Opened {
    Stream(Stream),
    Nothing,
    Refused(u16),
    NotNow,
}

async fn opened(user: &User, answer: reqwest::Result<Response>) -> Opened {
    let pause = Duration::from_millis(150);
    let Ok(answer) = answer else {
        sleep(pause).await;
        return Opened::NotNow;
    };
    match answer.status() {
        StatusCode::OK => Opened::Stream(Stream::of(answer)),
        StatusCode::NO_CONTENT => Opened::Nothing,
        status @ (StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::GONE) => {
            Opened::Refused(status.as_u16())
        }
        status => {
            user.expect_passing(status, "GET …/stream");
            sleep(pause).await;
            Opened::NotNow
        }
    }
}
