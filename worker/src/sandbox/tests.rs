//! What commands can do, and what they cannot, in the real sandbox.
//!
//! A machine without one fails these tests, unless it says so: `COPILOT_SKIP_SANDBOX=1`.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use copilot_shared::testing::eventually;

use super::*;

const MB: u64 = 1 << 20;

struct Box {
    sandbox: Sandbox,
    session: SessionId,
    root: PathBuf,
}

impl Drop for Box {
    fn drop(&mut self) {
        // Left to the machine's own cleaning if it fails.
        let _left = std::fs::remove_dir_all(&self.root);
    }
}

/// A sandbox of its own; `None` where there can be none and that was said.
#[expect(clippy::print_stderr, reason = "a test that did not test must say so")]
async fn boxed(quota: u64) -> Option<Box> {
    // In a directory that only its owner can come to, as a home directory is.
    let root = std::env::temp_dir().join(format!("copilot-sandbox-{}", SessionId::random()));
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let sandbox = Sandbox::new(&root.join("sandbox"), quota).unwrap();
    let session = SessionId::random();
    let tried = sandbox.run(session, "true", Duration::from_secs(10), |_| {}).await;
    if matches!(tried, Err(SandboxError::Unavailable)) && std::env::var_os("COPILOT_SKIP_SANDBOX").is_some() {
        eprintln!("NOT TESTED: this machine has no sandbox, and COPILOT_SKIP_SANDBOX is set");
        return None;
    }
    tried.expect("bubblewrap works here; install it and allow user namespaces, or set COPILOT_SKIP_SANDBOX=1");
    Some(Box { sandbox, session, root })
}

impl Box {
    async fn ended(&self, command: &str, seconds: u64) -> (Said, Ending) {
        self.sandbox.run(self.session, command, Duration::from_secs(seconds), |_| {}).await.unwrap()
    }

    /// What a command says, that succeeds.
    async fn says(&self, command: &str) -> String {
        let (said, ending) = self.ended(command, 20).await;
        assert_eq!(ending, Ending::Exited(0), "{command}: {said:?}");
        said.stdout
    }

    async fn fails(&self, command: &str) -> String {
        let (said, ending) = self.ended(command, 20).await;
        assert!(matches!(ending, Ending::Exited(code) if code != 0), "{command}: {said:?}");
        said.stderr
    }

    fn home(&self) -> PathBuf {
        self.root.join("sandbox").join(self.session.to_string()).join("home")
    }
}

/// Processes of this machine whose command line has the mark.
fn processes(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let command_lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    command_lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

async fn gone(mark: &str) {
    eventually("every process has ended", Duration::from_secs(5), || async { (processes(mark) == 0).then_some(()) })
        .await;
}

#[tokio::test]
async fn commands_speak_fail_and_leave_files_behind() {
    let Some(a) = boxed(100 * MB).await else { return };
    let (said, ending) = a.ended("echo out; echo err >&2; exit 3", 10).await;
    assert_eq!((said.stdout.as_str(), said.stderr.as_str(), ending), ("out\n", "err\n", Ending::Exited(3)));
    assert_eq!(a.says("pwd; echo kept > file; id -u; whoami; hostname").await, "/home/user\n1000\nuser\nsandbox\n");
    assert_eq!(a.says("cat file").await, "kept\n");
    assert_eq!(a.ended("kill -TERM $$", 10).await.1, Ending::Exited(143));
    assert_eq!(a.says("python3 -c 'print(6*7)' 2>/dev/null || echo 42").await, "42\n");
    let other = a.sandbox.run(SessionId::random(), "ls -A", Duration::from_secs(5), |_| {}).await.unwrap();
    assert_eq!(other.0.stdout, "", "another session has other files");
}

#[tokio::test]
async fn nothing_of_the_machine_is_seen() {
    let Some(a) = boxed(100 * MB).await else { return };
    for path in ["/root", "/work", "/var", "/etc/shadow", "/etc/ssh", "/sys", "/run", "/mnt", "/boot", "/srv"] {
        a.fails(&format!("ls -d {path}")).await;
    }
    // This process has what a worker has: secrets in its environment.
    let secret = std::env::var("PATH").unwrap();
    let seen = a.says("cat /proc/*/environ /proc/self/environ | tr '\\0' '\\n'; env").await;
    assert!(!seen.contains("DATABASE_URL") && !seen.contains(&secret) && seen.contains("HOME=/home/user"), "{seen}");
    let processes = a.says("ls -d /proc/[0-9]* | wc -l").await;
    assert!(processes.trim().parse::<u32>().unwrap() < 8, "only its own: {processes}");
    for write in
        ["echo x > /x", "echo x > /usr/x", "echo x > /etc/passwd", "mkdir /dev/x", "echo x > /proc/sys/kernel/hostname"]
    {
        a.fails(write).await;
    }
    // A link out of the directory leads nowhere, then and later.
    a.says("ln -s /etc/shadow link; ln -s / root").await;
    a.fails("cat link").await;
    a.fails("ls root/root").await;
}

#[tokio::test]
async fn there_is_no_network() {
    let Some(a) = boxed(100 * MB).await else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    a.fails(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}")).await;
    a.fails("exec 3<>/dev/tcp/1.1.1.1/53").await;
    assert_eq!(a.says("cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '").await, "lo\n");
}

#[tokio::test]
async fn nobody_becomes_more_than_he_is() {
    let Some(a) = boxed(100 * MB).await else { return };
    assert_eq!(a.says("grep CapEff /proc/self/status").await.split_whitespace().last(), Some("0000000000000000"));
    assert_eq!(a.says("grep NoNewPrivs /proc/self/status").await.split_whitespace().last(), Some("1"));
    a.says("cp /bin/bash mine && chmod u+s mine && test \"$(./mine -p -c 'id -u')\" = 1000").await;
    a.fails("unshare --user --map-root-user true").await;
    a.fails("su -c id").await;
    a.fails("mount -t tmpfs none /tmp").await;
    a.fails("ulimit -u 1000").await;
    if launch::lesser_user().is_some() {
        use std::os::unix::fs::MetadataExt;
        assert_ne!(std::fs::metadata(a.home().join("mine")).unwrap().uid(), 0, "not even root of the machine");
    }
}

#[tokio::test]
async fn time_is_limited_and_what_was_said_is_kept() {
    let Some(a) = boxed(100 * MB).await else { return };
    let mark = format!("1000{}", std::process::id());
    let began = Instant::now();
    let (said, ending) = a.ended(&format!("echo begun; trap '' TERM INT HUP; sleep {mark}"), 1).await;
    assert_eq!((said.stdout.as_str(), ending), ("begun\n", Ending::TimedOut));
    assert!(began.elapsed() < Duration::from_secs(5));
    gone(&mark).await;
    // Closing its outputs does not make a command last longer.
    assert_eq!(a.ended(&format!("exec >&- 2>&-; sleep {mark}"), 1).await.1, Ending::TimedOut);
    gone(&mark).await;
}

#[tokio::test]
async fn nothing_outlives_its_command() {
    let Some(a) = boxed(100 * MB).await else { return };
    let mark = format!("2000{}", std::process::id());
    let began = Instant::now();
    a.says(&format!("setsid -f sleep {mark} >/dev/null 2>&1; (nohup sleep {mark} &) ; sleep {mark} & echo done")).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for them");
    gone(&mark).await;
}

#[tokio::test]
async fn dropping_a_run_kills_all_of_it() {
    let Some(a) = boxed(100 * MB).await else { return };
    let mark = format!("3000{}", std::process::id());
    let command = format!("setsid -f sleep {mark}; sleep {mark} & sleep {mark}");
    let run = a.sandbox.run(a.session, &command, Duration::from_mins(1), |_| {});
    let begun = eventually("all three sleep", Duration::from_secs(10), || async {
        (processes(&format!("sleep\0{mark}")) == 3).then_some(())
    });
    tokio::select! {
        ended = run => panic!("it sleeps: {ended:?}"),
        () = begun => {}
    }
    gone(&mark).await;
}

#[tokio::test]
async fn a_worker_that_dies_takes_its_commands_along() {
    let Some(a) = boxed(100 * MB).await else { return };
    if let Ok(mark) = std::env::var("SANDBOX_TEST_MARK") {
        a.ended(&format!("setsid -f sleep {mark}; sleep {mark}"), 60).await;
        return;
    }
    let mark = format!("5000{}", std::process::id());
    let mut worker = tokio::process::Command::new(std::env::current_exe().unwrap());
    worker.args(["--exact", "sandbox::tests::a_worker_that_dies_takes_its_commands_along"]);
    let mut worker = worker.env("SANDBOX_TEST_MARK", &mark).stdout(std::process::Stdio::null()).spawn().unwrap();
    let sleep = format!("sleep\0{mark}");
    eventually("both sleep", Duration::from_secs(20), || async { (processes(&sleep) == 2).then_some(()) }).await;
    worker.kill().await.unwrap();
    gone(&sleep).await;
}

#[tokio::test]
async fn processes_are_limited() {
    let Some(a) = boxed(100 * MB).await else { return };
    let mark = format!("4000{}", std::process::id());
    let (_, ending) = a.ended(&format!("for i in $(seq 200); do sleep {mark} & done"), 3).await;
    assert_eq!(ending, Ending::TimedOut, "Bash tries again and again to fork");
    let bomb = "bomb() { bomb | bomb & }; bomb; sleep 5";
    let run = a.sandbox.run(a.session, bomb, Duration::from_secs(2), |_| {});
    let most = AtomicUsize::new(0);
    let counting = async {
        loop {
            most.fetch_max(processes("bomb | bomb"), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        ended = run => drop(ended.unwrap()),
        () = counting => {}
    }
    let most = most.into_inner();
    assert!(most <= 64 + 3, "{most} processes, bubblewrap's own included");
    gone("bomb | bomb").await;
}

#[tokio::test]
async fn memory_and_files_are_limited() {
    let Some(a) = boxed(500 * MB).await else { return };
    a.fails("head -c 600M /dev/zero | tail -c 600M > /dev/null; test ${PIPESTATUS[1]} = 0").await;
    let (said, ending) = a.ended("head -c 60M /dev/zero > big", 20).await;
    assert!(matches!(ending, Ending::Exited(code) if code != 0), "{said:?}");
    assert_eq!(a.says("stat -c %s big").await, "52428800\n");
    a.fails("ulimit -f unlimited").await;
    a.fails("head -c 100M /dev/zero > /tmp/a; cat /tmp/a > /tmp/b; cat /tmp/a > /tmp/c").await;
    a.fails("head -c 40M /dev/zero > /dev/shm/x").await;
    assert!(a.says("cat /proc/self/oom_score_adj").await.starts_with("1000"), "the first to go when memory is short");
}

#[tokio::test]
async fn a_session_cannot_fill_the_disk() {
    let Some(a) = boxed(60 * MB).await else { return };
    let (said, ending) = a.ended("for i in $(seq 1000); do head -c 5M /dev/zero > f$i; sleep 0.02; done", 60).await;
    assert_eq!(ending, Ending::Full(Excess::Bytes), "{said:?}");
    let held = disk::used(&a.home()).await.unwrap();
    assert_ne!(held, held.or_quota(60 * MB + 1).or_quota(0).or_quota(2000 * MB), "far from a thousand files");
    // What is full can be emptied, and not filled further, be it in less time than anybody looks.
    for n in 0..3 {
        a.ended(&format!("for i in 1 2 3 4; do head -c 20M /dev/zero > g{n}$i & done; wait"), 20).await;
    }
    let after = disk::used(&a.home()).await.unwrap();
    assert!(after.has_room(0, held.bytes() + MB), "{held:?} became {after:?}");
    a.says("rm -f f* g*; sleep 1; ls").await;
    a.says("sleep 1; echo again > file").await;
}

#[tokio::test]
async fn many_files_are_too_many() {
    let Some(a) = boxed(500 * MB).await else { return };
    let flood = "mkdir d; cd d; i=0; while true; do i=$((i+1)); eval touch {${i}0000..${i}9999}; done";
    assert_eq!(a.ended(flood, 60).await.1, Ending::Full(Excess::Files));
}

#[tokio::test]
async fn a_flood_of_output_is_bounded() {
    let Some(a) = boxed(100 * MB).await else { return };
    let (said, ending) = a.ended("echo first; yes | head -c 300M; echo last; head -c 50M /dev/zero >&2", 60).await;
    assert_eq!(ending, Ending::Exited(0));
    assert!(said.stdout.starts_with("first\ny\n") && said.stdout.ends_with("y\nlast\n"));
    assert!(said.stdout.len() + said.stderr.len() < 50_000);
}

#[tokio::test]
async fn whoever_watches_sees_it_come() {
    let Some(a) = boxed(100 * MB).await else { return };
    let seen = Mutex::new(Vec::new());
    let show = |said: Said| seen.lock().unwrap().push(said.stdout);
    let run = a.sandbox.run(a.session, "echo one; sleep 1.2; echo two; sleep 1.2", Duration::from_secs(10), show);
    assert_eq!(run.await.unwrap().0.stdout, "one\ntwo\n");
    assert_eq!(*seen.lock().unwrap(), ["one\n", "one\ntwo\n"], "each once, and nothing where nothing is new");
}

#[tokio::test]
async fn a_machine_without_bubblewrap_has_no_sandbox() {
    // The environment of this process is its own; another one has no way to find it.
    if std::env::var_os("SANDBOX_TEST_WITHOUT").is_some() {
        let root = std::env::temp_dir().join(format!("copilot-sandbox-{}", SessionId::random()));
        let sandbox = Sandbox::new(&root, MB).unwrap();
        let tried = sandbox.run(SessionId::random(), "true", Duration::from_secs(5), |_| {}).await;
        std::fs::remove_dir_all(&root).unwrap();
        assert!(matches!(tried, Err(SandboxError::Unavailable)), "{tried:?}");
        return;
    }
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "sandbox::tests::a_machine_without_bubblewrap_has_no_sandbox"]);
    let ended = again.env("SANDBOX_TEST_WITHOUT", "1").env("PATH", "/nowhere").output().await.unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && told.contains("1 passed"), "{told}");
}
