//! The command line that makes a sandbox and runs a command in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::home::{ETC, HOME};

/// Limits of one command. Those that it could raise are hard ones.
const LIMITS: [&str; 4] = ["--nproc=64:64", "--as=536870912:536870912", "--nofile=256:256", "--core=0:0"];

/// May a command write?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Files of up to 50 MiB.
    Allowed,
    /// Nothing: the directory is full. What is quicker than it is watched would make it fuller each time.
    /// Deleting goes on.
    Forbidden,
}

impl Growth {
    fn limit(self) -> &'static str {
        match self {
            Self::Allowed => "--fsize=52428800:52428800",
            Self::Forbidden => "--fsize=0:0",
        }
    }
}

/// Memory that counts for nobody's limit otherwise: files in `/tmp` and `/dev/shm`, in bytes.
const TMP_BYTES: &str = "67108864";
const SHM_BYTES: &str = "16777216";

/// What is taken from the machine's `/etc`: what programs need to start, and nothing of its own.
const ETC_OF_MACHINE: [&str; 6] =
    ["alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types"];

/// Parts of the system that are links into `/usr`, or directories on older machines.
const SYSTEM: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// `nobody`: the kernel does not hold root to its number of processes, whatever the sandbox calls it.
const LESSER_USER: u32 = 65_534;

/// Can what runs in a sandbox make one of its own?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nesting {
    /// No.
    Forbidden,
    /// Yes: bubblewrap is too old to forbid it.
    Possible,
}

/// The user that sandboxes run as, if this process is root.
pub(super) fn lesser_user() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(LESSER_USER)
}

/// Where bubblewrap is, if it is installed.
pub(super) fn bubblewrap() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|directory| directory.join("bwrap")).find(|program| program.is_file())
}

/// A sandbox that is to be started.
pub(super) struct Launch<'a> {
    pub(super) bubblewrap: &'a Path,
    pub(super) home: &'a Path,
    pub(super) nesting: Nesting,
    pub(super) growth: Growth,
    pub(super) command: &'a str,
}

impl Launch<'_> {
    /// Program and arguments.
    pub(super) fn words(&self) -> Vec<OsString> {
        let directory = self.home.parent().unwrap_or(self.home);
        let mut words = Words(vec![self.bubblewrap.into()]);
        let directory = match lesser_user() {
            None => directory,
            Some(id) => {
                words.as_lesser_user(id, directory).0.push(self.bubblewrap.into());
                Path::new("/mnt")
            }
        };
        words.sandbox(directory, self.nesting);
        words
            .all(&["--", "/usr/bin/choom", "-n", "1000", "--", "/usr/bin/prlimit"])
            .all(&LIMITS)
            .all(&[self.growth.limit()]);
        words.all(&["--", "/bin/bash", "-c", self.command]);
        words.0
    }
}

struct Words(Vec<OsString>);

impl Words {
    fn all(&mut self, words: &[&str]) -> &mut Self {
        self.0.extend(words.iter().map(OsString::from));
        self
    }

    fn bind(&mut self, how: &str, from: impl Into<OsString>, to: &str) -> &mut Self {
        self.0.extend([how.into(), from.into(), to.into()]);
        self
    }

    /// Root gives itself up first. The lesser user may not be able to come to the directory, so it
    /// is put where he can. A process namespace ties the two together: a dying root without
    /// capabilities may not even signal him.
    fn as_lesser_user(&mut self, id: u32, directory: &Path) -> &mut Self {
        let id = id.to_string();
        self.all(&["--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/"]).bind("--bind", directory, "/mnt");
        self.all(&["--", "setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--"])
    }

    fn sandbox(&mut self, directory: &Path, nesting: Nesting) {
        self.all(&["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]);
        if nesting == Nesting::Forbidden {
            self.all(&["--disable-userns"]);
        }
        self.all(&["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--hostname", "sandbox"]);
        for (name, value) in [
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ("HOME", "/home/user"),
            ("USER", "user"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
        ] {
            self.all(&["--setenv", name, value]);
        }
        self.all(&["--ro-bind", "/usr", "/usr"]);
        for name in SYSTEM {
            let path = Path::new("/").join(name);
            match std::fs::read_link(&path) {
                Ok(target) => self.bind("--symlink", target, &format!("/{name}")),
                Err(_) => self.bind("--ro-bind-try", path, &format!("/{name}")),
            };
        }
        for name in ETC_OF_MACHINE {
            let path = format!("/etc/{name}");
            self.bind("--ro-bind-try", &path, &path);
        }
        for name in ["passwd", "group", "hosts", "nsswitch.conf"] {
            self.bind("--ro-bind", directory.join(ETC).join(name), &format!("/etc/{name}"));
        }
        self.all(&[
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--size",
            SHM_BYTES,
            "--tmpfs",
            "/dev/shm",
            "--remount-ro",
            "/dev",
        ]);
        self.all(&["--size", TMP_BYTES, "--tmpfs", "/tmp"]).bind("--bind", directory.join(HOME), "/home/user");
        // Else the root, which is memory, could be filled.
        self.all(&["--remount-ro", "/", "--chdir", "/home/user"]);
    }
}
