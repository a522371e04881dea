//! A session's directory: `home`, which its commands may write to, and `etc`, which they see.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use copilot_shared::id::SessionId;

use super::launch;

/// What commands may write to.
pub(super) const HOME: &str = "home";
/// What they see as `/etc`, besides what is taken from the machine.
pub(super) const ETC: &str = "etc";

/// The machine's own users, hosts and services are nobody's business.
const ETC_FILES: [(&str, &str); 4] = [
    ("passwd", "user:x:1000:1000:user:/home/user:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"),
    ("group", "user:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// Where the `home` of a session is, if it is there.
pub(super) fn of(root: &Path, session: SessionId) -> PathBuf {
    // The id is a UUID, so the name is safe.
    root.join(session.to_string()).join(HOME)
}

/// The `home` of a session, made if need be. Says that it was used just now.
pub(super) async fn prepare(root: &Path, session: SessionId) -> io::Result<PathBuf> {
    let directory = root.join(session.to_string());
    let home = directory.join(HOME);
    let (made, root) = (home.clone(), root.to_owned());
    tokio::task::spawn_blocking(move || make(&root, &directory, &made)).await.map_err(io::Error::other)??;
    Ok(home)
}

fn make(root: &Path, directory: &Path, home: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    // Nobody can come here except through `root`; the user of the sandbox must, from inside.
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let etc = directory.join(ETC);
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&etc)?;
    for (name, content) in ETC_FILES {
        let path = etc.join(name);
        if !path.exists() {
            std::fs::write(&path, content)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644))?;
        }
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
    if let Some(id) = launch::lesser_user() {
        chown(home, Some(id), Some(id))?;
    }
    // The sweep goes by this.
    std::fs::File::open(directory)?.set_modified(std::time::SystemTime::now())
}
