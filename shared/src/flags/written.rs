//! Flags that are written down as JSON, in the environment or in a file that may change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::FlagProvider;
use crate::id::UserId;

/// Flags written down as JSON: `{"defaults": {flag: value}, "users": {user: {flag: value}}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenFlags {
    /// For everybody.
    #[serde(default)]
    defaults: HashMap<String, Value>,
    /// For single users.
    #[serde(default)]
    users: HashMap<UserId, HashMap<String, Value>>,
}

impl std::str::FromStr for WrittenFlags {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

impl FlagProvider for WrittenFlags {
    fn value(&self, flag: &str, user: &UserId) -> Option<Value> {
        self.users.get(user).and_then(|own| own.get(flag)).or_else(|| self.defaults.get(flag)).cloned()
    }
}

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Flags in a file. A change is seen within seconds; one that makes no sense is logged, and the
/// flags stay as they were.
#[derive(Debug)]
pub struct FlagFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    flags: WrittenFlags,
    changed: Option<SystemTime>,
    looked: Instant,
}

/// A file of flags that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FlagFileError {
    /// It is not there, or not ours to read.
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is no JSON of flags.
    #[error("{0} holds no feature flags")]
    Parse(PathBuf, #[source] serde_json::Error),
}

impl FlagFile {
    /// Reads a file for the first time.
    pub fn open(path: &Path) -> Result<Self, FlagFileError> {
        let read = Read { flags: read(path)?, changed: changed(path), looked: Instant::now() };
        Ok(Self { path: path.to_owned(), read: Mutex::new(read) })
    }

    fn look_again(&self, last: &mut Read) {
        last.looked = Instant::now();
        let changed = changed(&self.path);
        if changed == last.changed {
            return;
        }
        last.changed = changed;
        match read(&self.path) {
            Ok(flags) => last.flags = flags,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "feature flags stay as they were");
            }
        }
    }
}

impl FlagProvider for FlagFile {
    fn value(&self, flag: &str, user: &UserId) -> Option<Value> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.looked.elapsed() >= LOOK_EVERY {
            self.look_again(&mut read);
        }
        read.flags.value(flag, user)
    }
}

fn read(path: &Path) -> Result<WrittenFlags, FlagFileError> {
    let text = std::fs::read_to_string(path).map_err(|error| FlagFileError::Read(path.to_owned(), error))?;
    text.parse().map_err(|error| FlagFileError::Parse(path.to_owned(), error))
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limit(flags: &FlagFile) -> Option<Value> {
        flags.value("limit", &UserId::parse("ann").unwrap())
    }

    /// As if the last look were long ago.
    fn forget_look(flags: &FlagFile) {
        flags.read.lock().unwrap().looked -= LOOK_EVERY;
    }

    #[test]
    fn a_misspelled_section_is_refused() {
        assert!("{\"default\": {}}".parse::<WrittenFlags>().is_err());
        assert_eq!("{}".parse::<WrittenFlags>().unwrap(), WrittenFlags::default());
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let path = std::env::temp_dir().join(format!("flags-{}.json", uuid::Uuid::new_v4()));
        let write = |text: &str, age: u64| {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        assert!(matches!(FlagFile::open(&path), Err(FlagFileError::Read(..))));
        write("{", 30);
        assert!(matches!(FlagFile::open(&path), Err(FlagFileError::Parse(..))));
        write("{\"defaults\": {\"limit\": 1}}", 20);
        let flags = FlagFile::open(&path).unwrap();
        write("{\"defaults\": {\"limit\": 2}}", 10);
        assert_eq!(limit(&flags), Some(json!(1)), "it is not looked at each time");
        forget_look(&flags);
        assert_eq!(limit(&flags), Some(json!(2)));
        write("{\"defaults\": 3}", 0);
        forget_look(&flags);
        assert_eq!(limit(&flags), Some(json!(2)));
        std::fs::remove_file(&path).unwrap();
        forget_look(&flags);
        assert_eq!(limit(&flags), Some(json!(2)));
    }
}
