//! Credits: what a user has, in cents, and the rules of every change to it (`usage.md`;
//! `usage-tools.md` §2). One credit is one US cent.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A sum of money in cents: a balance, or the signed amount of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Cents(pub i64);

impl Cents {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The highest balance: the largest integer that every JSON parser keeps exact (RFC 8259, 6).
    pub const MAX_BALANCE: Self = Self((1 << 53) - 1);
}

impl fmt::Display for Cents {
    /// As dollars.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, cents) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        write!(f, "{sign}${}.{:02}", cents / 100, cents % 100)
    }
}

/// How much is spent or granted at once: at least a cent, at most [`Self::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// The highest amount: what the reference's columns hold.
    pub const MAX: i64 = i32::MAX as i64;

    /// Refuses what is zero, negative or too much.
    pub fn new(cents: i64) -> Option<Self> {
        (1..=Self::MAX).contains(&cents).then_some(Self(cents))
    }

    /// In cents.
    pub fn cents(self) -> Cents {
        Cents(self.0)
    }

    /// What a spend of it adds to the balance.
    pub fn taken(self) -> Cents {
        Cents(-self.0)
    }
}

/// Why a balance changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sqlx(type_name = "credit_kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CreditKind {
    /// The user paid for it.
    TopUp,
    /// The user spent it.
    Usage,
    /// We gave it: the month's refill, an administrator's gift, a spend that is taken back.
    Grant,
    /// A payment was taken back, and its credits with it.
    Refund,
    /// A card was tried; nothing changed.
    CardCheck,
}

/// What makes a transaction happen once: unique among a user's transactions. Who makes one names
/// its own kind of key first (`reset:…`), so that no two purposes share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct TransactionKey(String);

impl TransactionKey {
    /// The longest key that is accepted, in bytes. Keys that are derived from it are longer, and
    /// fit the column.
    pub const MAX_BYTES: usize = 255;

    /// The key `name` for a purpose: 1 to [`Self::MAX_BYTES`] bytes together, without control
    /// characters.
    pub fn new(purpose: &'static str, name: &str) -> Option<Self> {
        let key = format!("{purpose}:{name}");
        let fits = !name.is_empty() && key.len() <= Self::MAX_BYTES;
        (fits && !key.chars().any(char::is_control)).then_some(Self(key))
    }

    /// The key of the grant that takes a spend back.
    #[must_use]
    pub fn refund(&self) -> Self {
        Self(format!("refund:{}", self.0))
    }

    /// The key of a month's refill: the month's first day, in UTC (`usage-tools.md` §2.4).
    pub fn of_refill(now: DateTime<Utc>) -> Self {
        Self(format!("MONTHLY-CREDIT-TOP-UP-{:04}-{:02}-01", now.year(), now.month()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a transaction beside its figures: an object with, at least, a `reason`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Why it happened, as users read it.
    pub fn reason(text: impl Into<String>) -> Self {
        Self(Map::from_iter([("reason".to_owned(), Value::String(text.into()))]))
    }

    /// More, by name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// All of it.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// A change that has happened.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its place among the user's, 1 being the first.
    pub sequence: i64,
    /// What made it happen once.
    pub key: TransactionKey,
    /// Why.
    pub kind: CreditKind,
    /// What it added, in cents; negative if it took.
    pub amount: Cents,
    /// The balance after it.
    pub running_balance: Cents,
    /// What else is known.
    pub metadata: Metadata,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// The balance does not cover a spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Insufficient balance of {balance}, where this will cost {}", .amount.cents())]
pub struct Insufficient {
    /// What there is.
    pub balance: Cents,
    /// What it takes.
    pub amount: Amount,
}

/// The balance would pass [`Cents::MAX_BALANCE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the balance of {balance} cannot take so much more")]
pub struct TooMuch {
    /// What there is.
    pub balance: Cents,
}

/// The balance after a spend: never below zero.
pub fn after_spend(balance: Cents, amount: Amount) -> Result<Cents, Insufficient> {
    let left = balance.0.checked_sub(amount.0).filter(|left| *left >= 0);
    left.map(Cents).ok_or(Insufficient { balance, amount })
}

/// The balance after a grant.
pub fn after_grant(balance: Cents, amount: Amount) -> Result<Cents, TooMuch> {
    let sum = balance.0.checked_add(amount.0).map(Cents).filter(|sum| *sum <= Cents::MAX_BALANCE);
    sum.ok_or(TooMuch { balance })
}

/// What a month's refill gives, and the balance after it: nothing to who has more.
pub fn after_refill(balance: Cents, refill: Cents) -> (Cents, Cents) {
    let missing = refill.0.saturating_sub(balance.0).max(0);
    (Cents(missing), Cents(balance.0.saturating_add(missing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(cents: i64) -> Amount {
        Amount::new(cents).unwrap()
    }

    #[test]
    fn an_amount_is_positive_and_bounded() {
        for refused in [i64::MIN, -1, 0, Amount::MAX + 1, i64::MAX] {
            assert!(Amount::new(refused).is_none(), "{refused}");
        }
        assert_eq!(amount(1).cents(), Cents(1));
        assert_eq!(amount(Amount::MAX).taken(), Cents(-Amount::MAX));
    }

    #[test]
    fn a_spend_takes_the_last_cent_and_no_more() {
        assert_eq!(after_spend(Cents(500), amount(500)), Ok(Cents(0)));
        let refused = after_spend(Cents(499), amount(500)).unwrap_err();
        assert_eq!(refused.to_string(), "Insufficient balance of $4.99, where this will cost $5.00");
        assert!(after_spend(Cents(-3), amount(1)).is_err());
        assert!(after_spend(Cents(i64::MIN), amount(1)).is_err());
    }

    #[test]
    fn a_grant_never_passes_the_highest_balance() {
        assert_eq!(after_grant(Cents(-5), amount(7)), Ok(Cents(2)));
        assert_eq!(after_grant(Cents(Cents::MAX_BALANCE.0 - 1), amount(1)), Ok(Cents::MAX_BALANCE));
        assert!(after_grant(Cents::MAX_BALANCE, amount(1)).is_err());
        assert!(after_grant(Cents(i64::MAX), amount(Amount::MAX)).is_err());
    }

    #[test]
    fn a_refill_fills_up_and_takes_nothing() {
        assert_eq!(after_refill(Cents(200), Cents(1500)), (Cents(1300), Cents(1500)));
        assert_eq!(after_refill(Cents(-200), Cents(1500)), (Cents(1700), Cents(1500)));
        assert_eq!(after_refill(Cents(1500), Cents(1500)), (Cents::ZERO, Cents(1500)));
        assert_eq!(after_refill(Cents(9000), Cents(1500)), (Cents::ZERO, Cents(9000)));
    }

    #[test]
    fn keys_of_different_purposes_differ() {
        let key = TransactionKey::new("reset", "a").unwrap();
        assert_eq!((key.as_str(), key.refund().as_str()), ("reset:a", "refund:reset:a"));
        assert_eq!(TransactionKey::new("reset", ""), None);
        assert_eq!(TransactionKey::new("reset", "a\0"), None);
        assert_eq!(TransactionKey::new("reset", &"x".repeat(250)), None);
        let new_year = "2027-01-31T23:59:59Z".parse().unwrap();
        assert_eq!(TransactionKey::of_refill(new_year).as_str(), "MONTHLY-CREDIT-TOP-UP-2027-01-01");
    }

    #[test]
    fn cents_are_shown_as_dollars() {
        assert_eq!(Cents(1505).to_string(), "$15.05");
        assert_eq!(Cents(-7).to_string(), "-$0.07");
    }
}
