//! Feature flags: values that an operator changes while the system runs, for everybody or for one
//! user. A provider never fails a request: what it does not know has no value.

use std::sync::Arc;

use serde_json::Value;

use crate::id::UserId;

#[cfg(feature = "launchdarkly")]
pub mod launchdarkly;
mod written;

pub use written::{FlagFile, FlagFileError, WrittenFlags};

/// Where flags come from.
pub trait FlagProvider: Send + Sync + 'static {
    /// A flag's value for a user; `None` if it has none, or cannot be told.
    fn value(&self, flag: &str, user: &UserId) -> Option<Value>;
}

/// The flags of a process.
#[derive(Clone)]
pub struct Flags(Arc<dyn FlagProvider>);

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flags")
    }
}

impl Default for Flags {
    fn default() -> Self {
        Self::of(WrittenFlags::default())
    }
}

impl Flags {
    /// The flags of a provider.
    pub fn of(provider: impl FlagProvider) -> Self {
        Self(Arc::new(provider))
    }

    /// A flag that is a number of tokens. What is negative is 0; what is no number has no value
    /// (`usage-tools.md` §1.6).
    pub fn tokens(&self, flag: &str, user: &UserId) -> Option<i64> {
        whole(&self.0.value(flag, user)?).map(|tokens| tokens.max(0))
    }
}

/// A number without its fraction; texts count if they are whole numbers.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(truncated)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "cut off on purpose, and bounded before")]
fn truncated(number: f64) -> Option<i64> {
    (number.abs() < 9e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flags(value: Value) -> Flags {
        Flags::of(serde_json::from_value::<WrittenFlags>(value).unwrap())
    }

    #[test]
    fn a_users_own_value_goes_before_everybodys() {
        let flags = flags(json!({"defaults": {"limit": 10}, "users": {"ann": {"limit": 20}, "bob": {"other": 1}}}));
        let tokens = |user| flags.tokens("limit", &UserId::parse(user).unwrap());
        assert_eq!((tokens("ann"), tokens("bob"), tokens("eve")), (Some(20), Some(10), Some(10)));
        assert_eq!(flags.tokens("unknown", &UserId::parse("ann").unwrap()), None);
    }

    #[test]
    fn tokens_are_whole_and_not_negative_and_anything_else_is_no_value() {
        let ann = UserId::parse("ann").unwrap();
        for (value, tokens) in [
            (json!(5), Some(5)),
            (json!(5.9), Some(5)),
            (json!("7"), Some(7)),
            (json!(-3), Some(0)),
            (json!(0), Some(0)),
            (json!("many"), None),
            (json!(1e300), None),
            (json!(true), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            let flags = flags(json!({"defaults": {"limit": value}}));
            assert_eq!(flags.tokens("limit", &ann), tokens, "{value}");
        }
    }
}
