//! Files: rows and blobs that stay together, whatever dies in between.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::blobs::{BlobKey, Blobs, S3Settings};
use copilot_shared::id::{FileId, SessionId, UserId, WorkerId, WorkspaceId};
use copilot_shared::session::Caller;
use copilot_shared::store::Fence;
use copilot_shared::testing::{Services, eventually};
use copilot_shared::workspace::{File, FilePath, Noticed, Target, Upload, WorkspaceError, WorkspaceLimits, Workspaces};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::s3::S3;
use crate::setup::{claimed, ready, session};

const MB: usize = 1 << 20;

fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

fn target(path: &str) -> Target {
    Target::at(FilePath::parse(path).unwrap())
}

/// How many blobs there are, the half-written ones included.
fn blobs_in(directory: &Path) -> usize {
    let Ok(workspaces) = std::fs::read_dir(directory) else { return 0 };
    let below = workspaces.map(|workspace| std::fs::read_dir(workspace.unwrap().path()).unwrap().count());
    below.sum()
}

async fn loose(services: &Services) -> i64 {
    services.count("SELECT count(*) FROM loose_blobs").await
}

#[tokio::test]
async fn a_file_is_what_was_written_until_it_is_deleted() {
    let services = Services::isolated().await;
    let files = services.workspaces(1 << 30);
    let content = Bytes::from("naïve\n".repeat(MB));
    let written = files.write(&ann(), target("/a/notes.txt"), content.clone()).await.unwrap();
    assert_eq!((written.mime_type.as_str(), written.name.as_str()), ("text/plain", "notes.txt"));
    let found = files.find_at(&ann(), &written.path).await.unwrap().unwrap();
    assert_eq!((found.id, found.size_bytes), (written.id, i64::try_from(content.len()).unwrap()));
    assert_eq!(files.read_whole(&found, content.len()).await.unwrap().unwrap(), content);
    let part = files.read(&found, Some(6 * MB as u64..6 * MB as u64 + 9)).await.unwrap().unwrap();
    assert_eq!(part.collect(100).await.unwrap(), content.slice(6 * MB..6 * MB + 9));
    let usage = files.usage(&ann()).await.unwrap();
    assert_eq!((usage.used_bytes, usage.file_count), (found.size_bytes, 1));

    let eve = UserId::parse("eve").unwrap();
    assert!(files.find(&eve, found.id).await.unwrap().is_none());
    assert!(files.delete(&eve, found.id).await.unwrap().is_none());

    assert_eq!(files.delete(&ann(), found.id).await.unwrap().unwrap().id, found.id);
    assert!(files.delete(&ann(), found.id).await.unwrap().is_none());
    assert!(files.read(&found, None).await.unwrap().is_none(), "the bytes are gone as well");
    assert_eq!(files.usage(&ann()).await.unwrap().used_bytes, 0);
    assert_eq!((blobs_in(&services.workspace_dir), loose(&services).await), (0, 0));
}

#[tokio::test]
async fn the_quota_is_exact_however_many_write_at_once() {
    let services = Services::isolated().await;
    let files = services.workspaces((3 << 20) + 1000);
    let uploads = (0..8).map(|n| {
        let files = files.clone();
        async move {
            // Begun at once, so that none of them can be refused early.
            let mut upload = files.begin(&ann(), target(&format!("/{n}")), None).await.unwrap();
            upload.write(Bytes::from(vec![n; MB])).await.unwrap();
            upload
        }
    });
    let begun = join_all(uploads).await;
    let ends = join_all(begun.into_iter().map(Upload::finish)).await;
    let (written, refused): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    assert_eq!((written.len(), refused.len()), (3, 5));
    for refusal in refused {
        assert!(matches!(refusal, Err(WorkspaceError::QuotaExceeded(_, Noticed::After))), "{refusal:?}");
    }
    assert_eq!(files.usage(&ann()).await.unwrap().used_bytes, 3 << 20);
    eventually("refused bytes are gone", Duration::from_secs(10), || async {
        (loose(&services).await == 0 && blobs_in(&services.workspace_dir) == 3).then_some(())
    })
    .await;
    let early = files.begin(&ann(), target("/early"), Some(1001)).await;
    assert!(matches!(early, Err(WorkspaceError::QuotaExceeded(_, Noticed::Before))));
    files.write(&ann(), target("/last"), Bytes::from(vec![0; 1000])).await.unwrap();
    assert_eq!(services.count("SELECT (used_bytes - (SELECT sum(size_bytes) FROM workspace_files WHERE deleted_at IS NULL))::bigint FROM workspaces").await, 0);
}

#[tokio::test]
async fn a_file_that_grows_too_large_is_refused_while_it_is_written() {
    let services = Services::isolated().await;
    let files = services.workspaces(1 << 30);
    assert!(matches!(
        files.begin(&ann(), target("/a"), Some(8 * MB as u64 + 1)).await,
        Err(WorkspaceError::TooLarge(_))
    ));
    let mut upload = files.begin(&ann(), target("/late"), None).await.unwrap();
    for _ in 0..8 {
        upload.write(Bytes::from(vec![0; MB])).await.unwrap();
    }
    assert!(matches!(upload.write(Bytes::from_static(b"x")).await, Err(WorkspaceError::TooLarge(_))));
    drop(upload);
    eventually("what was written is gone", Duration::from_secs(10), || async {
        (loose(&services).await == 0 && blobs_in(&services.workspace_dir) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_path_has_one_file_and_can_be_used_again_and_again() {
    let services = Services::isolated().await;
    let files = services.workspaces(100);
    let ann = ann();
    let write = |text: &'static str| files.write(&ann, target("/a.txt"), Bytes::from_static(text.as_bytes()));
    let first = write("one").await.unwrap();
    assert!(matches!(write("two").await, Err(WorkspaceError::Exists(path)) if path == first.path));
    let again = files.write(&ann, target("/a.txt").replacing(), Bytes::from(vec![b'x'; 100])).await.unwrap();
    assert_ne!(first.id, again.id, "the quota counts what is left, not what was");
    assert!(files.find(&ann, first.id).await.unwrap().is_none());
    files.delete(&ann, again.id).await.unwrap();
    for _ in 0..3 {
        let file = write("more").await.unwrap();
        files.delete(&ann, file.id).await.unwrap();
    }
    assert_eq!((blobs_in(&services.workspace_dir), loose(&services).await), (0, 0));
    let replacing = (0..6).map(|n| files.write(&ann, target("/b").replacing(), Bytes::from(vec![n; 10])));
    assert!(join_all(replacing).await.iter().all(Result::is_ok), "they take each other's place");
    assert_eq!(files.list(&ann, "/", 10, 0).await.unwrap().1, 1);
    assert_eq!(files.usage(&ann).await.unwrap().used_bytes, 10);
}

#[tokio::test]
async fn lists_keep_to_their_prefix_and_come_newest_first() {
    let services = Services::isolated().await;
    let files = services.workspaces(100);
    let session = SessionId::random();
    for path in ["/x", "/sessions/other/y", "z", "sub/w"] {
        let path = if path.starts_with('/') { FilePath::parse(path) } else { FilePath::within(Some(session), path) };
        files.write(&ann(), Target::at(path.unwrap()), Bytes::from_static(b"1")).await.unwrap();
    }
    let names = |list: &[File]| list.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
    let (own, total) = files.list(&ann(), &FilePath::prefix_of(session), 10, 0).await.unwrap();
    assert_eq!((names(&own), total), (vec!["w".into(), "z".into()], 2));
    let (page, total) = files.list(&ann(), "/", 2, 1).await.unwrap();
    assert_eq!((names(&page), total), (vec!["z".into(), "y".into()], 4));
    let ids = [own[1].id, FileId::generate(), own[0].id];
    assert_eq!(names(&files.find_all(&ann(), &ids).await.unwrap()), ["z", "w"], "in the order of the ids");
}

#[tokio::test]
async fn what_a_dead_process_wrote_is_swept_and_its_upload_cannot_complete() {
    let services = Services::isolated().await;
    let files = services.workspaces(1 << 30);
    let mut upload = files.begin(&ann(), target("/late"), None).await.unwrap();
    upload.write(Bytes::from(vec![1; 6 * MB])).await.unwrap();
    assert_eq!(files.sweep().await.unwrap(), 0, "it may still complete");
    services.sql("UPDATE loose_blobs SET due_at = now() - interval '1 second'").await;
    assert_eq!(files.sweep().await.unwrap(), 1);
    assert_eq!((blobs_in(&services.workspace_dir), loose(&services).await), (0, 0));
    // It was only slow: nothing may come of it now.
    assert!(upload.finish().await.is_err());
    assert_eq!(files.usage(&ann()).await.unwrap().file_count, 0);
    eventually("nothing is left", Duration::from_secs(10), || async {
        (blobs_in(&services.workspace_dir) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_was_taken_over_writes_and_deletes_no_file() {
    let services = Services::isolated().await;
    let (store, caller) = (services.store(), Caller::User(ann()));
    let session = session(&store, &caller).await;
    let turn = ready(&store, session, &caller, "write").await.id;
    let attempt = claimed(&store, turn, WorkerId::generate()).await.turn.attempt;
    let files = services.workspaces(1 << 30);
    let old = files.on_behalf_of(Fence { turn, attempt });
    let mut frozen = old.begin(&ann(), target("/a").replacing(), None).await.unwrap();
    frozen.write(Bytes::from_static(b"old")).await.unwrap();
    let doomed = old.write(&ann(), target("/b"), Bytes::from_static(b"b")).await.unwrap();

    services.sql("UPDATE turns SET lease_until = now() - interval '1 second'").await;
    let attempt = claimed(&store, turn, WorkerId::generate()).await.turn.attempt;
    let new = files.on_behalf_of(Fence { turn, attempt });
    let written = new.write(&ann(), target("/a").replacing(), Bytes::from_static(b"new")).await.unwrap();

    assert!(matches!(frozen.finish().await, Err(WorkspaceError::Fenced)));
    assert!(matches!(old.delete(&ann(), doomed.id).await, Err(WorkspaceError::Fenced)));
    assert_eq!(files.find_at(&ann(), &written.path).await.unwrap().unwrap().id, written.id);
    assert_eq!(files.usage(&ann()).await.unwrap().used_bytes, 4);
    eventually("what the old worker wrote is gone", Duration::from_secs(10), || async {
        (loose(&services).await == 0 && blobs_in(&services.workspace_dir) == 2).then_some(())
    })
    .await;
    assert!(new.delete(&ann(), doomed.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_somebody_found_again_is_not_taken_back() {
    let services = Services::isolated().await;
    let files = services.workspaces(1 << 30);
    let made = files.write(&ann(), target("/a"), Bytes::from_static(b"a")).await.unwrap();
    assert!(files.find_again(&ann(), &made.path, &[0; 32]).await.unwrap().is_none(), "another content");
    let found = files.find_again(&ann(), &made.path, &made.checksum).await.unwrap().unwrap();
    assert_eq!(found.id, made.id);
    files.take_back(&ann(), &made).await.unwrap();
    assert!(files.find(&ann(), made.id).await.unwrap().is_some(), "whoever found it needs it");

    let made = files.write(&ann(), target("/b"), Bytes::from_static(b"bb")).await.unwrap();
    files.take_back(&ann(), &made).await.unwrap();
    assert!(files.find_again(&ann(), &made.path, &made.checksum).await.unwrap().is_none());
    assert_eq!(files.usage(&ann()).await.unwrap().used_bytes, 1);
    assert_eq!((blobs_in(&services.workspace_dir), loose(&services).await), (1, 0));
}

#[tokio::test]
async fn a_deletion_that_died_half_way_is_completed() {
    let services = Services::isolated().await;
    let files = services.workspaces(1 << 30);
    let file = files.write(&ann(), target("/a"), Bytes::from_static(b"a")).await.unwrap();
    files.write(&ann(), target("/b"), Bytes::from_static(b"b")).await.unwrap();
    // The row went, and then the process did.
    services.store().delete_file(&ann(), file.id, None).await.unwrap().unwrap();
    assert_eq!(blobs_in(&services.workspace_dir), 2);
    assert_eq!(files.sweep().await.unwrap(), 1);
    assert_eq!(blobs_in(&services.workspace_dir), 1);
    // A user's end is their files' end.
    services.sql("DELETE FROM users WHERE id = 'ann'").await;
    assert_eq!(files.sweep().await.unwrap(), 1);
    assert_eq!((blobs_in(&services.workspace_dir), loose(&services).await), (0, 0));
}

#[tokio::test]
async fn an_object_store_holds_blobs_as_a_directory_does() {
    let services = Services::isolated().await;
    let s3 = S3::start().await;
    let settings = S3Settings {
        bucket: "files".into(),
        endpoint: Some(s3.url()),
        region: "us-east-1".into(),
        keys: Some(("key".into(), "secret".into())),
    };
    let limits = WorkspaceLimits { quota_bytes: 1 << 30, max_file_bytes: 20 << 20 };
    let blobs = Blobs::s3(settings).unwrap();
    let files = Workspaces::new(services.store(), blobs.clone(), limits);
    // One in a piece, one in parts.
    for size in [10, 12 * MB] {
        let content: Bytes = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let file = files.write(&ann(), target("/a").replacing(), content.clone()).await.unwrap();
        assert_eq!(files.read_whole(&file, size).await.unwrap().unwrap(), content);
        let part = files.read(&file, Some(3..7)).await.unwrap().unwrap();
        assert_eq!(part.collect(10).await.unwrap(), content.slice(3..7));
        assert_eq!(s3.objects(), 1, "what was replaced is deleted");
    }
    let mut upload = files.begin(&ann(), target("/late"), None).await.unwrap();
    for _ in 0..12 {
        upload.write(Bytes::from(vec![0; MB])).await.unwrap();
    }
    drop(upload);
    eventually("an upload that was given up leaves no parts", Duration::from_secs(10), || async {
        (s3.uploads() == 0 && loose(&services).await == 0).then_some(())
    })
    .await;
    let missing = BlobKey::new(WorkspaceId::generate(), Uuid::now_v7());
    assert!(blobs.read(&missing, None).await.unwrap().is_none());
    blobs.delete(&missing).await.unwrap();
}
