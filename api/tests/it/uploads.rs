//! Uploads that nobody should send, or not so many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::testing::eventually;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use poem::Body;
use tokio::sync::mpsc;

use crate::files::{BOUNDARY, form, upload};
use crate::harness::{Answer, Api};

const MB: usize = 1 << 20;

/// What a client that goes on sending gets rid of at most after it was refused.
const DRAINED: usize = 64 * MB;

const HEAD: &str = "--cut-here\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";

async fn send(api: &Api, user: &str, body: Body, announced: Option<usize>) -> Answer {
    let mut ask = api
        .post("/api/workspace/files/upload")
        .by(user)
        .header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"));
    if let Some(announced) = announced {
        ask = ask.header("content-length", &announced.to_string());
    }
    ask.streamed(body).send().await
}

/// A body that begins so and goes on for `more` bytes, and how much of it was read.
fn long(begin: &str, more: usize) -> (Body, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let filler = stream::repeat(Bytes::from(vec![b'x'; 64 * 1024])).take(more / (64 * 1024));
    let chunks = stream::iter([Bytes::from(begin.to_owned())]).chain(filler).map(move |chunk| {
        counted.fetch_add(chunk.len(), Ordering::Relaxed);
        Ok::<_, std::io::Error>(chunk)
    });
    (Body::from_bytes_stream(chunks), read)
}

#[tokio::test]
async fn a_form_that_never_comes_to_its_file_is_cut_off() {
    let api = Api::start().await;
    let headers = "--cut-here\r\nContent-Disposition: form-data; name=\"file\"; x=\"";
    let another = "--cut-here\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n";
    for begin in ["", headers, another] {
        let (body, read) = long(begin, 100 * MB);
        send(&api, "ann", body, None).await.refused(413, "payload_too_large");
        let read = read.load(Ordering::Relaxed);
        assert!(read <= DRAINED + MB, "{begin:?}: {read} bytes were read");
        let (body, read) = long(begin, 100 * MB);
        send(&api, "ann", body, Some(100 * MB)).await.refused(413, "payload_too_large");
        assert!(read.load(Ordering::Relaxed) < MB, "{begin:?}: it is known how much is to come");
    }
    assert_eq!(api.services.count("SELECT count(*) FROM loose_blobs").await, 0);
}

#[tokio::test]
async fn a_file_that_is_far_too_large_is_not_read_to_its_end() {
    let api = Api::start().await;
    for (announced, most) in [(None, DRAINED + 10 * MB), (Some(200 * MB), 9 * MB)] {
        let (body, read) = long(HEAD, 200 * MB);
        send(&api, "ann", body, announced).await.refused(413, "file_too_large");
        let read = read.load(Ordering::Relaxed);
        assert!(read <= most, "{read} bytes were read");
    }
    let (body, read) = long(HEAD, 10 * MB);
    send(&api, "ann", body, Some(10 * MB)).await.refused(413, "file_too_large");
    assert!(read.load(Ordering::Relaxed) >= 10 * MB, "where little is too much the client can read why");
}

/// A body that stops before its end until it is told to go on.
fn halting(name: &str) -> (Body, mpsc::Sender<Bytes>) {
    let whole = Bytes::from(form(name, b"content"));
    let (sender, receiver) = mpsc::channel(2);
    let (begin, end) = (whole.slice(..whole.len() - 10), whole.slice(whole.len() - 10..));
    sender.try_send(begin).unwrap();
    let rest = stream::unfold((receiver, end), |(mut receiver, end)| async move {
        let chunk: Bytes = receiver.recv().await?;
        let chunk = if chunk.is_empty() { end.clone() } else { chunk };
        Some((Ok::<_, std::io::Error>(chunk), (receiver, end)))
    });
    (Body::from_bytes_stream(rest), sender)
}

#[tokio::test]
async fn of_many_uploads_of_a_user_a_few_are_under_way_and_the_others_wait() {
    let api = Api::start().await;
    let (bodies, senders): (Vec<_>, Vec<_>) = (0..10).map(|n| halting(&format!("{n}.txt"))).unzip();
    let under_way = || api.services.count("SELECT count(*) FROM loose_blobs");
    let sent = join_all(bodies.into_iter().map(|body| send(&api, "ann", body, None)));
    let others = async {
        eventually("some have begun", Duration::from_secs(10), || async { (under_way().await >= 4).then_some(()) })
            .await;
        // Others are not held up, and meanwhile no more of these begin.
        for n in 0..3 {
            upload(&api, "bob", "", &n.to_string(), b"x").await.ok();
        }
        assert_eq!(under_way().await, 4);
        for sender in senders {
            sender.send(Bytes::new()).await.unwrap();
        }
    };
    let (answers, ()) = tokio::join!(sent, others);
    for answer in answers {
        answer.ok();
    }
    assert_eq!(api.get("/api/workspace/storage/usage").by("ann").send().await.ok()["file_count"], 10);
}
