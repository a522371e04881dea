//! Each server dies and comes back, while turns run and while turns are submitted: clients wait
//! with heartbeats and go on, readiness tells the truth, and nothing needs a hand.

mod postgres;
mod rabbitmq;
mod redis;

use std::time::Duration;

use copilot_shared::testing::Services;
use futures_util::future::join_all;

use crate::client::{Client, Event, Rest, Stream};
use crate::servers::{OwnServer, Server};
use crate::system::System;

/// One API and two workers, and the server that is going to die.
struct Scene {
    system: System,
    ann: Client,
    /// Dropped last.
    server: OwnServer,
}

impl Scene {
    /// None where this machine cannot have a server of one's own, which `deploy/test` then says.
    async fn start(server: Server, environment: &[(&str, &str)]) -> Option<Self> {
        let server = OwnServer::start(server).await?;
        let services = Services::isolated_on(server.servers.clone()).await;
        let system = System::start_in(services, 1, 2, environment).await;
        let ann = system.client(0, "ann");
        Some(Self { system, ann, server })
    }

    /// A turn that is being answered, slowly.
    async fn answering(&self, message: &str) -> Answering {
        let session = self.ann.session().await;
        let mut stream = self.ann.send(&session, message).await;
        let first = stream.until("text-delta").await;
        Answering { session, stream, seen: vec![first] }
    }

    /// Every process says that this part is down.
    async fn all_down(&self, part: &str) {
        join_all(self.processes().map(|process| process.down(part))).await;
    }

    /// Every process is ready again by itself.
    async fn all_ready(&self) {
        join_all(self.processes().map(|process| process.ready(Duration::from_secs(15)))).await;
    }

    fn processes(&self) -> impl Iterator<Item = &crate::system::Process> {
        self.system.apis.iter().map(|(process, _)| process).chain(&self.system.workers)
    }

    /// Nothing was left for anybody, and no turn changed hands more often than this.
    async fn at_rest(&self, handovers: i64) {
        copilot_shared::testing::eventually("everything has come to rest", Duration::from_secs(15), || async {
            let left = "SELECT (SELECT count(*) FROM turns WHERE status IN ('queued', 'running') OR NOT sealed) \
                 + (SELECT count(*) FROM outbox)";
            (self.system.services.count(left).await == 0).then_some(())
        })
        .await;
        let taken_over = "SELECT coalesce(sum(attempt - 1), 0)::bigint FROM turns WHERE attempt > 0";
        assert!(self.system.services.count(taken_over).await <= handovers, "turns changed hands");
        assert_eq!(self.system.services.count("SELECT count(*) FROM turns WHERE status = 'failed'").await, 0);
    }
}

/// A turn with its viewer.
struct Answering {
    session: String,
    stream: Stream,
    seen: Vec<Event>,
}

impl Answering {
    /// It goes on: so many chunks more come.
    async fn goes_on(&mut self, chunks: usize) {
        for _ in 0..chunks {
            self.seen.push(self.stream.next().await.expect("the stream goes on"));
        }
    }

    /// What a client has in the end, without a hole.
    async fn whole(self) -> Rest {
        let mut rest = self.stream.rest().await;
        assert!(rest.done, "the stream ends in good order: {:?}", rest.comments);
        rest.events.splice(0..0, self.seen);
        let sequences = rest.sequences();
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "no hole: {sequences:?}");
        rest
    }
}
