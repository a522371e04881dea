//! What commands could leave behind, and what tools make of it.

use std::os::unix::fs::symlink;

use super::*;

const KB: u64 = 1024;

struct Scene {
    sandbox: Sandbox,
    session: SessionId,
    root: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.root).unwrap();
    }
}

impl Scene {
    async fn new() -> Self {
        let root = std::env::temp_dir().join(format!("copilot-files-{}", SessionId::random()));
        let sandbox = Sandbox::new(&root, 512 * KB).unwrap();
        let session = SessionId::random();
        home::prepare(&root, session).await.unwrap();
        Self { sandbox, session, root }
    }

    fn home(&self) -> PathBuf {
        home::of(&self.root, self.session)
    }

    async fn text(&self, path: &str) -> Result<String, SessionFileError> {
        let mut pieces = self.sandbox.open(self.session, path).await?;
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await? {
            text.extend_from_slice(&piece);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    async fn save(&self, path: &str, content: impl Into<Bytes>) -> Result<(), SessionFileError> {
        let content = content.into();
        let mut saving = self.sandbox.save(self.session, path, content.len() as u64).await?;
        saving.write(content).await?;
        saving.finish().await
    }

    fn arriving(&self) -> usize {
        std::fs::read_dir(self.home().with_file_name(ARRIVING)).unwrap().count()
    }
}

#[tokio::test]
async fn files_are_written_and_read_below_the_directory() {
    let scene = Scene::new().await;
    scene.save("a/b/c.txt", "hello").await.unwrap();
    assert_eq!(scene.text("a/b/c.txt").await.unwrap(), "hello");
    scene.save("/home/user/a/b/c.txt", "hi").await.unwrap();
    assert_eq!(scene.text(" ./a/b/c.txt").await.unwrap(), "hi", "what was there is gone");
    assert!(matches!(scene.text("nope").await, Err(SessionFileError::Missing)));
    assert!(matches!(scene.text("a").await, Err(SessionFileError::NoFile)));
    assert!(matches!(scene.save("a", "x").await, Err(SessionFileError::NoFile)));
    assert!(matches!(scene.save("a/b/c.txt/d", "x").await, Err(SessionFileError::NoFile)));
    assert_eq!(scene.arriving(), 0);
}

#[tokio::test]
async fn nothing_leads_out_of_the_directory() {
    let scene = Scene::new().await;
    for path in ["../x", "/etc/passwd", "/home/user/../x", "a/../../x", "", " ", ".", "/", "/home/user", "/tmp/x"] {
        assert!(matches!(scene.text(path).await, Err(SessionFileError::Outside)), "{path}");
        assert!(matches!(scene.save(path, "x").await, Err(SessionFileError::Outside)), "{path}");
    }
    let outside = scene.root.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    symlink(outside.join("secret"), scene.home().join("link")).unwrap();
    symlink(&outside, scene.home().join("up")).unwrap();
    symlink("../../outside", scene.home().join("relative")).unwrap();
    for path in ["link", "up/secret", "relative/secret"] {
        assert!(scene.text(path).await.is_err(), "{path}");
    }
    for path in ["up/escaped", "relative/escaped", "up/deep/escaped"] {
        assert!(scene.save(path, "x").await.is_err(), "{path}");
    }
    scene.save("link", "mine").await.unwrap();
    assert_eq!(scene.text("link").await.unwrap(), "mine", "the link itself was replaced");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_no_file_is_not_waited_for() {
    let scene = Scene::new().await;
    let pipe = scene.home().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let asked = async {
        assert!(matches!(scene.text("pipe").await, Err(SessionFileError::NoFile)));
        scene.save("pipe", "x").await.unwrap();
        scene.text("pipe").await.unwrap()
    };
    assert_eq!(tokio::time::timeout(std::time::Duration::from_secs(5), asked).await.unwrap(), "x");
}

#[tokio::test]
async fn a_file_is_there_when_it_is_complete_and_an_abandoned_one_leaves_nothing() {
    let scene = Scene::new().await;
    scene.save("a", "old").await.unwrap();
    let mut saving = scene.sandbox.save(scene.session, "a", 3).await.unwrap();
    saving.write(Bytes::from_static(b"new")).await.unwrap();
    assert_eq!((scene.text("a").await.unwrap().as_str(), scene.arriving()), ("old", 1));
    drop(saving);
    assert_eq!((scene.text("a").await.unwrap().as_str(), scene.arriving()), ("old", 0));
}

#[tokio::test]
async fn the_quota_holds_for_what_is_saved_too() {
    let scene = Scene::new().await;
    let half = || Bytes::from(vec![1; 300 << 10]);
    assert!(matches!(scene.sandbox.save(scene.session, "a", 600 * KB).await, Err(SessionFileError::Full)));
    let mut one = scene.sandbox.save(scene.session, "a", 300 * KB).await.unwrap();
    let mut two = scene.sandbox.save(scene.session, "b", 300 * KB).await.unwrap();
    one.write(half()).await.unwrap();
    two.write(half()).await.unwrap();
    let (one, two) = tokio::join!(one.finish(), two.finish());
    assert!(one.is_ok() != two.is_ok(), "there is room for one: {one:?}, {two:?}");
    assert_eq!(scene.arriving(), 0);
}
