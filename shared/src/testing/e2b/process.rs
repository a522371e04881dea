//! Processes of sandboxes: real ones, which outlive whoever listens to them.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// What tells a sandbox's processes from all others. The real one has this variable, too.
const MARK: &str = "E2B_SANDBOX_ID";

/// What `envd` reads at once.
const PIECE_BYTES: usize = 32 << 10;

/// How long output may follow the end of a process whose children still hold its pipes.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A process that is to be started.
pub(super) struct Launch {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) has_input: bool,
    /// After this it is killed, and it alone.
    pub(super) timeout: Option<Duration>,
    /// How long to be silent at most.
    pub(super) keepalive: Duration,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u64,
    described: Value,
    input: Option<mpsc::UnboundedSender<Vec<u8>>>,
    has_ended: Arc<AtomicBool>,
}

impl Process {
    pub(super) fn is_running(&self) -> bool {
        !self.has_ended.load(Ordering::SeqCst)
    }

    /// False if it has no stdin.
    pub(super) fn tell(&self, words: Vec<u8>) -> bool {
        self.input.as_ref().is_some_and(|input| input.send(words).is_ok())
    }

    /// To it alone, not to what it has started.
    pub(super) fn signal(&self, name: &str) {
        signal(&self.pid.to_string(), name);
    }

    pub(super) fn listed(&self) -> Value {
        self.described.clone()
    }
}

fn signal(pid: &str, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), pid]).stderr(Stdio::null()).status();
    // It may have ended meanwhile, which is as good.
    sent.expect("kill runs");
}

/// What a process says, for whoever started it.
pub(super) struct Events {
    events: mpsc::Receiver<Value>,
    keepalive: Duration,
}

impl Events {
    pub(super) fn stream(self) -> impl Stream<Item = Value> + Send + 'static {
        futures_util::stream::unfold(self, |mut listener| async {
            match tokio::time::timeout(listener.keepalive, listener.events.recv()).await {
                Ok(event) => event.map(|event| (event, listener)),
                Err(_) => Some((json!({"keepalive": {}}), listener)),
            }
        })
    }
}

pub(super) fn start(launch: Launch, sandbox: &str, home: &Path, cwd: &Path) -> std::io::Result<(Process, Events)> {
    let Launch { program, arguments, environment, has_input, timeout, keepalive } = launch;
    let mut child = Command::new(&program)
        .args(&arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home)
        .env("USER", "user")
        .env(MARK, sandbox)
        .envs(environment)
        .current_dir(cwd)
        .stdin(if has_input { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let pid = u64::from(child.id().expect("a child that was not waited for"));
    let (sender, events) = mpsc::channel(64);
    let input = child.stdin.take().map(|mut stdin| {
        let (input, mut words) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(words) = words.recv().await {
                if stdin.write_all(&words).await.is_err() {
                    return;
                }
            }
        });
        input
    });
    let has_ended = Arc::new(AtomicBool::new(false));
    tokio::spawn(follow(child, sender, timeout, Arc::clone(&has_ended)));
    let described = json!({"pid": pid, "config": {"cmd": program, "args": arguments, "cwd": cwd}});
    Ok((Process { pid, described, input, has_ended }, Events { events, keepalive }))
}

/// Passes on what a process says until it has ended. Whoever does not listen any more misses it.
async fn follow(mut child: Child, events: mpsc::Sender<Value>, timeout: Option<Duration>, has_ended: Arc<AtomicBool>) {
    let pid = child.id().unwrap_or_default();
    let _gone = events.send(json!({"start": {"pid": pid}})).await;
    let stdout = child.stdout.take().map(|pipe| tokio::spawn(pass_on("stdout", pipe, events.clone())));
    let stderr = child.stderr.take().map(|pipe| tokio::spawn(pass_on("stderr", pipe, events.clone())));
    let limit = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let status = tokio::select! {
        status = child.wait() => status,
        () = limit => {
            signal(&pid.to_string(), "KILL");
            child.wait().await
        }
    };
    has_ended.store(true, Ordering::SeqCst);
    for mut pipe in stdout.into_iter().chain(stderr) {
        if tokio::time::timeout(LAST_WORDS, &mut pipe).await.is_err() {
            pipe.abort();
        }
    }
    let status = status.expect("a child can be waited for");
    let text = status.to_string();
    // As protocol buffers have it in JSON: what is 0 or false is left out.
    let end = match status.code() {
        Some(0) => json!({"status": text, "exited": true}),
        Some(code) => json!({"status": text, "exited": true, "exitCode": code, "error": text}),
        None => json!({"status": text, "exitCode": -1, "error": text}),
    };
    let _gone = events.send(json!({"end": end})).await;
}

async fn pass_on(name: &'static str, mut pipe: impl AsyncRead + Unpin, events: mpsc::Sender<Value>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(read) = pipe.read(&mut buffer).await {
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { return };
        let _gone = events.send(json!({"data": {name: STANDARD.encode(piece)}})).await;
    }
}

/// Kills everything that runs in a sandbox.
pub(super) fn kill_all_of(sandbox: &str) {
    let mark = format!("{MARK}={sandbox}");
    loop {
        let pids: Vec<String> = std::fs::read_dir("/proc")
            .expect("Linux")
            .flatten()
            .filter(|entry| {
                let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        if pids.is_empty() {
            return;
        }
        for pid in &pids {
            signal(pid, "KILL");
        }
    }
}
