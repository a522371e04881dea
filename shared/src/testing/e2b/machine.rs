//! Sandboxes: a directory and what runs in it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::process::{Process, kill_all_of};

/// A sandbox.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) template: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) token: String,
    pub(super) directory: PathBuf,
    pub(super) processes: HashMap<u64, Process>,
    pub(super) is_paused: bool,
    /// It is no more, and nobody hears of what ran in it.
    pub(super) gone: CancellationToken,
    pauses_by_itself: bool,
    ends_at: Instant,
}

/// What was made with a key: with which request, and what became of it.
type Made = (Value, String);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Machines {
    /// In the order in which they were made.
    by_age: BTreeMap<u64, Machine>,
    made: HashMap<String, Made>,
    next: u64,
}

impl Machine {
    pub(super) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    pub(super) fn seconds_left(&self) -> u64 {
        self.ends_at.saturating_duration_since(Instant::now()).as_secs()
    }

    /// Where a path of the sandbox is on this machine.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        let below = |prefix: &str| Path::new(path).strip_prefix(prefix).ok().map(Path::to_owned);
        match (below("/home/user"), below("/tmp")) {
            (Some(path), _) => self.home().join(path),
            (None, Some(path)) => self.directory.join("tmp").join(path),
            (None, None) => self.home().join(path.trim_start_matches('/')),
        }
    }

    /// As the API says it.
    pub(super) fn described(&self) -> Value {
        json!({
            "sandboxID": self.id, "clientID": "client", "templateID": self.template, "envdVersion": "0.5.8",
            "envdAccessToken": self.token, "domain": null, "trafficAccessToken": null,
        })
    }

    /// As a list has it.
    pub(super) fn listed(&self) -> Value {
        let now = chrono::Utc::now();
        let ends = now + chrono::Duration::seconds(i64::try_from(self.seconds_left()).unwrap_or(0));
        json!({
            "sandboxID": self.id, "clientID": "client", "templateID": self.template, "envdVersion": "0.5.8",
            "startedAt": now.to_rfc3339(), "endAt": ends.to_rfc3339(), "cpuCount": 2, "memoryMB": 512,
            "diskSizeMB": 512, "metadata": self.metadata, "state": if self.is_paused { "paused" } else { "running" },
        })
    }

    fn stay(&mut self, seconds: u64) {
        self.ends_at = Instant::now() + Duration::from_secs(seconds);
    }
}

impl Machines {
    /// Those that there are, oldest first.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Machine> {
        self.settle();
        self.by_age.values_mut()
    }

    /// Time passes for sandboxes, too.
    fn settle(&mut self) {
        let now = Instant::now();
        for machine in self.by_age.values_mut().filter(|machine| machine.pauses_by_itself && machine.ends_at <= now) {
            machine.is_paused = true;
        }
        let over = |machine: &Machine| !machine.pauses_by_itself && machine.ends_at <= now;
        for machine in self.by_age.extract_if(.., |_, machine| over(machine)) {
            end(&machine.1);
        }
    }

    pub(super) fn find(&mut self, id: &str) -> Option<&mut Machine> {
        self.all().find(|machine| machine.id == id)
    }

    pub(super) fn running(&mut self, id: &str) -> Option<&mut Machine> {
        self.find(id).filter(|machine| !machine.is_paused)
    }

    /// Makes one, unless this key has made one: then that is it. An error is a status and a word.
    pub(super) fn create(
        &mut self,
        root: &Path,
        key: Option<&str>,
        request: &Value,
    ) -> Result<Value, (u16, &'static str)> {
        if let Some((earlier, id)) = key.and_then(|key| self.made.get(key)) {
            if earlier != request {
                return Err((422, "idempotency_request_mismatch"));
            }
            let id = id.clone();
            // Whoever asks again is told what was made, even if it is gone.
            return Ok(self
                .find(&id)
                .map_or_else(|| json!({"sandboxID": id, "envdVersion": "0.5.8"}), |made| made.described()));
        }
        let id = format!("i{}", Uuid::new_v4().simple());
        let directory = root.join(&id);
        std::fs::create_dir_all(directory.join("home")).expect("the test's directory can be made");
        std::fs::create_dir_all(directory.join("tmp")).expect("the test's directory can be made");
        let machine = Machine {
            id: id.clone(),
            template: request.get("templateID").and_then(Value::as_str).ok_or((400, "no_template"))?.to_owned(),
            metadata: request.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default(),
            token: Uuid::new_v4().to_string(),
            directory,
            processes: HashMap::new(),
            is_paused: false,
            gone: CancellationToken::new(),
            pauses_by_itself: request.get("autoPause") == Some(&Value::Bool(true)),
            ends_at: Instant::now() + Duration::from_secs(seconds(request)),
        };
        if let Some(key) = key {
            self.made.insert(key.to_owned(), (request.clone(), id));
        }
        self.next += 1;
        let described = machine.described();
        self.by_age.insert(self.next, machine);
        Ok(described)
    }

    /// Wakes one up. The time that it has never becomes less.
    pub(super) fn connect(&mut self, id: &str, request: &Value) -> Option<Value> {
        let machine = self.find(id)?;
        machine.is_paused = false;
        machine.stay(seconds(request).max(machine.seconds_left()));
        Some(machine.described())
    }

    /// Sets the time that a running one has.
    pub(super) fn set_timeout(&mut self, id: &str, request: &Value) -> Option<()> {
        self.running(id)?.stay(seconds(request));
        Some(())
    }

    /// Has one run out of its time.
    pub(super) fn expire(&mut self, id: &str) {
        if let Some(machine) = self.find(id) {
            machine.ends_at = Instant::now();
        }
        self.settle();
    }

    pub(super) fn kill(&mut self, id: &str) -> bool {
        let killed: Vec<_> = self.by_age.extract_if(.., |_, machine| machine.id == id).collect();
        for (_, machine) in &killed {
            end(machine);
        }
        !killed.is_empty()
    }

    pub(super) fn kill_all(&mut self) {
        std::mem::take(&mut self.by_age).values().for_each(end);
    }
}

fn end(machine: &Machine) {
    machine.gone.cancel();
    kill_all_of(&machine.id);
    // Left to the end of the test if it fails.
    let _left = std::fs::remove_dir_all(&machine.directory);
}

fn seconds(request: &Value) -> u64 {
    request.get("timeout").and_then(Value::as_u64).unwrap_or(300)
}
