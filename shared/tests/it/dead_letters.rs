//! Dead letters: on their way from the queue into the table, once each.

use std::time::Duration;

use chrono::Utc;
use copilot_shared::dead_letter::{DELIVERY_LIMIT, DeadLetter, GivenUp};
use copilot_shared::id::{DeadLetterId, TurnId, UserId};
use copilot_shared::queue::{DeadLetterDelivery, DeadLetterIntake, Intake};
use copilot_shared::testing::Services;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Letters {
    deliveries: mpsc::Receiver<DeadLetterDelivery>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Letters {
    fn of(services: &Services) -> Self {
        let (sender, deliveries) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = tokio::spawn(DeadLetterIntake::new(services.broker()).run(sender, stop.clone()));
        Self { deliveries, stop, task }
    }

    async fn next(&mut self) -> DeadLetterDelivery {
        tokio::time::timeout(Duration::from_secs(15), self.deliveries.recv()).await.unwrap().unwrap()
    }

    async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_letter_that_was_not_acknowledged_comes_again_under_its_id() {
    let services = Services::isolated().await;
    let turn = TurnId::generate();
    let body = format!("{{\"turn_id\":\"{turn}\",\"v\":\"x\"}}").into_bytes();
    let letter = DeadLetter::give_up(Some(turn), body, GivenUp::UnreadableMessage);
    services.publisher().publish_dead(&letter).await.unwrap();
    let mut first = Letters::of(&services);
    let delivered = first.next().await;
    let whole_seconds = |letter: &DeadLetter| DeadLetter { at: letter.at - chrono_fraction(letter), ..letter.clone() };
    assert_eq!(delivered.letter, whole_seconds(&letter));
    first.close().await;
    drop(delivered);

    let mut second = Letters::of(&services);
    let again = second.next().await;
    assert_eq!(again.letter.id, letter.id);
    again.ack().await;
    second.close().await;
}

fn chrono_fraction(letter: &DeadLetter) -> chrono::TimeDelta {
    chrono::TimeDelta::nanoseconds(i64::from(letter.at.timestamp_subsec_nanos()))
}

#[tokio::test]
async fn a_message_that_was_given_out_too_often_is_a_letter_with_the_brokers_reason() {
    let services = Services::isolated().await;
    let turn = TurnId::generate();
    services.publisher().publish_turn(turn).await.unwrap();
    let (stop, settled) = (CancellationToken::new(), CancellationToken::new());
    let (deliver, mut deliveries) = mpsc::channel(1);
    let intake = tokio::spawn(Intake::new(services.broker(), 8).run(deliver, stop.clone(), settled.clone()));
    let mut letters = Letters::of(&services);
    let letter = loop {
        tokio::select! {
            delivery = deliveries.recv() => delivery.unwrap().requeue().await,
            letter = letters.next() => break letter,
        }
    };
    assert_eq!((letter.letter.reason.as_str(), letter.letter.turn_id), (DELIVERY_LIMIT, Some(turn)));
    assert!((Utc::now() - letter.letter.at).num_seconds().abs() < 60);
    let id = letter.letter.id;
    letters.close().await;
    drop(letter);
    let mut letters = Letters::of(&services);
    let again = letters.next().await;
    assert_eq!(again.letter.id, id, "the broker gives no ids, and still it is one letter");
    again.ack().await;
    letters.close().await;
    stop.cancel();
    settled.cancel();
    intake.await.unwrap();
}

#[tokio::test]
async fn a_letter_is_kept_once_and_listed_until_it_is_replayed() {
    let services = Services::isolated().await;
    let store = services.store();
    let long = DeadLetter::give_up(None, vec![b'x'; 5_000], GivenUp::UnreadableMessage);
    let turn = TurnId::generate();
    let other = DeadLetter::give_up(Some(turn), b"{}".to_vec(), GivenUp::AttemptsExhausted);
    for letter in [&long, &other, &long] {
        store.keep_dead_letter(letter).await.unwrap();
    }
    let list = store.list_dead_letters(None, 10).await.unwrap();
    assert_eq!(list.iter().map(|letter| letter.id).collect::<Vec<_>>(), [other.id, long.id]);
    assert_eq!((list[0].turn_id, list[0].reason.as_str()), (Some(turn), "attempts_exhausted"));
    assert_eq!((list[1].excerpt.len(), list[1].body_bytes), (2_000, 5_000));
    let older = store.list_dead_letters(Some(list[0].number), 10).await.unwrap();
    assert_eq!(older.len(), 1);

    let root = UserId::parse("root").unwrap();
    store.note_replayed(long.id, &root).await.unwrap();
    assert_eq!(store.list_dead_letters(None, 10).await.unwrap().len(), 1);
    let kept = store.find_dead_letter(long.id).await.unwrap().unwrap();
    assert_eq!(kept.body, long.body);
    store.keep_dead_letter(&long).await.unwrap();
    store.note_replayed(long.id, &UserId::parse("late").unwrap()).await.unwrap();
    let again = store.find_dead_letter(long.id).await.unwrap().unwrap();
    assert_eq!(again.replayed_at, kept.replayed_at, "what was replayed stays so when it arrives late");
    assert!(store.find_dead_letter(DeadLetterId::generate()).await.unwrap().is_none());
}
