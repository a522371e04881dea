//! The one subscription connection of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use copilot_shared::id::TurnId;
use copilot_shared::stream::{Batch, StreamError, Streams};
use fred::clients::SubscriberClient;
use fred::prelude::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Message;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::channel::Channel;

/// Knows which turns are watched, and hands each published batch to its channel.
pub(super) struct Hub {
    streams: Streams,
    channels: Mutex<HashMap<TurnId, Arc<Channel>>>,
    /// Turns whose subscription is to be made or ended, whichever the map says by then.
    changes: mpsc::UnboundedSender<TurnId>,
    connected: watch::Sender<bool>,
}

/// A viewer's hold on a channel. The last one to go ends the subscription.
pub(super) struct Watching {
    hub: Arc<Hub>,
    turn: TurnId,
    pub(super) channel: Arc<Channel>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut channels = self.hub.lock();
        if self.channel.leave() {
            channels.remove(&self.turn);
            self.hub.note_change(self.turn);
        }
    }
}

impl Hub {
    /// Begins to connect, and goes on as long as the process does.
    pub(super) fn start(streams: Streams, stop: CancellationToken) -> Result<Arc<Self>, StreamError> {
        let client = streams.subscriber()?;
        let (changes, to_follow) = mpsc::unbounded_channel();
        let hub = Arc::new(Self { streams, channels: Mutex::default(), changes, connected: watch::Sender::new(false) });
        tokio::spawn(stop.run_until_cancelled_owned(Arc::clone(&hub).run(client, to_follow)));
        Ok(hub)
    }

    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Joins the viewers of a turn.
    pub(super) fn watch(self: &Arc<Self>, turn: TurnId) -> Watching {
        let mut channels = self.lock();
        let channel = if let Some(channel) = channels.get(&turn) {
            Arc::clone(channel)
        } else {
            let channel = Arc::new(Channel::new());
            channels.insert(turn, Arc::clone(&channel));
            self.note_change(turn);
            channel
        };
        channel.enter();
        Watching { hub: Arc::clone(self), turn, channel }
    }

    fn note_change(&self, turn: TurnId) {
        if self.changes.send(turn).is_err() {
            tracing::debug!("the hub has stopped");
        }
    }

    async fn run(self: Arc<Self>, client: SubscriberClient, mut changes: mpsc::UnboundedReceiver<TurnId>) {
        let mut messages = client.message_rx();
        let mut reconnects = client.reconnect_rx();
        let mut errors = client.error_rx();
        let connection = client.connect();
        let mut pending = Vec::new();
        loop {
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Ok(message) => self.dispatch(message),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "messages came faster than they were handed on; reading again");
                        self.resubscribe(&client).await;
                    }
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                reconnected = reconnects.recv() => {
                    if matches!(reconnected, Err(broadcast::error::RecvError::Closed)) {
                        break;
                    }
                    self.connected.send_replace(true);
                    self.resubscribe(&client).await;
                }
                error = errors.recv() => {
                    self.connected.send_replace(client.is_connected());
                    if let Ok((error, _server)) = error {
                        tracing::warn!(%error, "the subscription connection was lost; connecting again");
                    }
                }
                count = changes.recv_many(&mut pending, 512) => {
                    if count == 0 {
                        break;
                    }
                    self.follow_changes(&client, &mut pending).await;
                }
            }
        }
        connection.abort();
    }

    fn dispatch(&self, message: Message) {
        let Some(turn) = self.streams.turn_of_channel(&message.channel) else { return };
        let Some(channel) = self.lock().get(&turn).map(Arc::clone) else { return };
        match message
            .value
            .into_bytes()
            .ok_or(copilot_shared::stream::BatchError)
            .and_then(|bytes| Batch::parse(&bytes))
        {
            Ok(batch) => channel.push(batch),
            Err(error) => tracing::error!(turn.id = %turn, %error, "a published batch cannot be read"),
        }
    }

    /// Subscribes to what is watched and unsubscribes from what no longer is.
    async fn follow_changes(&self, client: &SubscriberClient, pending: &mut Vec<TurnId>) {
        pending.sort_unstable();
        pending.dedup();
        let (wanted, unwanted): (Vec<_>, Vec<_>) = {
            let channels = self.lock();
            pending
                .drain(..)
                .map(|turn| (turn, channels.get(&turn).map(Arc::clone)))
                .partition(|(_, channel)| channel.is_some())
        };
        if !unwanted.is_empty() {
            let names: Vec<String> = unwanted.iter().map(|(turn, _)| self.streams.channel(*turn)).collect();
            if let Err(error) = client.unsubscribe(names).await {
                tracing::debug!(%error, "an unsubscription failed; its messages will find nobody");
            }
        }
        let wanted: Vec<_> = wanted.into_iter().filter_map(|(turn, channel)| Some((turn, channel?))).collect();
        self.subscribe(client, &wanted).await;
    }

    async fn resubscribe(&self, client: &SubscriberClient) {
        let all: Vec<_> = self.lock().iter().map(|(turn, channel)| (*turn, Arc::clone(channel))).collect();
        self.subscribe(client, &all).await;
    }

    async fn subscribe(&self, client: &SubscriberClient, channels: &[(TurnId, Arc<Channel>)]) {
        if channels.is_empty() {
            return;
        }
        let names: Vec<String> = channels.iter().map(|(turn, _)| self.streams.channel(*turn)).collect();
        // The client is done with a subscription once it is sent. What was published before the
        // server had it would be missed, so the server is asked for an answer behind it.
        let confirmed = async {
            client.subscribe(names).await?;
            client.ping::<String>(None).await.map(|_| ())
        };
        match tokio::time::timeout(Duration::from_secs(5), confirmed).await {
            Ok(Ok(())) => channels.iter().for_each(|(_, channel)| channel.subscribed()),
            // The reconnection subscribes to everything that is watched by then; a server that is
            // there and refuses is asked again.
            Ok(Err(error)) => {
                tracing::warn!(%error, "a subscription failed; trying again");
                self.retry_later(channels);
            }
            Err(_elapsed) => self.retry_later(channels),
        }
    }

    fn retry_later(&self, channels: &[(TurnId, Arc<Channel>)]) {
        let changes = self.changes.clone();
        let turns: Vec<TurnId> = channels.iter().map(|(turn, _)| *turn).collect();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            // If the hub has stopped meanwhile, so has the process.
            let _closed = turns.into_iter().try_for_each(|turn| changes.send(turn));
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
