//! RabbitMQ: what is published arrives, and every worker hears a cancel.

use std::time::Duration;

use copilot_shared::id::{TurnId, WorkerId};
use copilot_shared::queue::{CancelListener, Intake};
use copilot_shared::testing::Services;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

async fn up(mut state: watch::Receiver<bool>) {
    tokio::time::timeout(Duration::from_secs(10), state.wait_for(|up| *up)).await.unwrap().unwrap();
}

async fn receive<T>(receiver: &mut mpsc::Receiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_published_turn_arrives_and_comes_again_when_its_consumer_is_gone() {
    let services = Services::isolated().await;
    let publisher = services.publisher();
    let turn = TurnId::generate();
    publisher.publish_turn(turn).await.unwrap();

    let (stop, settled) = (CancellationToken::new(), CancellationToken::new());
    let (deliver, mut deliveries) = mpsc::channel(1);
    let first = tokio::spawn(Intake::new(services.broker(), 8).run(deliver, stop.clone(), settled.clone()));
    let delivery = receive(&mut deliveries).await;
    assert_eq!(delivery.message.as_ref().unwrap().turn_id, turn);
    assert!(!delivery.redelivered);
    stop.cancel();
    settled.cancel();
    first.await.unwrap();
    drop(delivery);

    let (stop, settled) = (CancellationToken::new(), CancellationToken::new());
    let (deliver, mut deliveries) = mpsc::channel(1);
    let second = tokio::spawn(Intake::new(services.broker(), 8).run(deliver, stop.clone(), settled.clone()));
    let again = receive(&mut deliveries).await;
    assert!(again.redelivered);
    assert_eq!(again.message.as_ref().unwrap().turn_id, turn);
    again.ack().await;
    stop.cancel();
    settled.cancel();
    second.await.unwrap();
}

#[tokio::test]
async fn every_worker_hears_every_cancel() {
    let services = Services::isolated().await;
    let stop = CancellationToken::new();
    let mut heard = Vec::new();
    for _ in 0..3 {
        let listener = CancelListener::new(services.broker(), WorkerId::generate());
        let state = listener.connected();
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(listener.run(sender, stop.clone()));
        up(state).await;
        heard.push(receiver);
    }
    let publisher = services.publisher();
    let turns: Vec<TurnId> = (0..10).map(|_| TurnId::generate()).collect();
    for &turn in &turns {
        publisher.publish_cancel(turn).await.unwrap();
    }
    for receiver in &mut heard {
        for &turn in &turns {
            assert_eq!(receive(receiver).await, turn);
        }
    }
    stop.cancel();
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again() {
    let services = Services::isolated().await;
    let publisher = services.publisher();
    publisher.publish_turn(TurnId::generate()).await.unwrap();
    services.broker().delete_all().await.unwrap();
    let turn = TurnId::generate();
    assert!(publisher.publish_turn(turn).await.is_err(), "an unroutable turn must not be taken for published");
    publisher.publish_turn(turn).await.unwrap();
}
