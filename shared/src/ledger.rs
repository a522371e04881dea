//! What users have and spend, as this deployment is set: a ledger with a refill each month, or
//! nothing at all (`usage-tools.md` §2.4).

use chrono::Utc;

use crate::credit::{Amount, Cents, Metadata, Transaction, TransactionKey};
use crate::id::UserId;
use crate::store::{ChargeError, GrantError, NewReset, PaidReset, Recorded, SpendError, Store, StoreError};

/// What everybody has where credits are disabled: enough for whoever looks whether there is some.
const DISABLED_BALANCE: Cents = Cents(100);

/// Credits, as the rest of the system sees them.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
    mode: Mode,
}

/// How this deployment treats credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing costs anything, and nothing is written.
    #[default]
    Disabled,
    /// Balances are real. Each month fills them up to `refill`; zero for no refill.
    Enabled {
        /// In cents.
        refill: Cents,
    },
}

impl Ledger {
    /// The credits of this deployment.
    pub fn new(store: Store, mode: Mode) -> Self {
        Self { store, mode }
    }

    /// Are balances real?
    pub fn is_enabled(&self) -> bool {
        self.mode != Mode::Disabled
    }

    /// Takes an amount, once a key: the same call again answers what the first one did. The key of
    /// a refused spend is not used up.
    pub async fn spend(
        &self,
        user: &UserId,
        amount: Amount,
        key: &TransactionKey,
        metadata: &Metadata,
    ) -> Result<Recorded, SpendError> {
        let Mode::Enabled { refill } = self.mode else {
            return Ok(Recorded { amount: Cents::ZERO, balance: Cents::ZERO, repeated: false });
        };
        self.store.ensure_user(user).await?;
        self.fill_up(user, refill).await?;
        self.store.spend_credits(user, amount, key, metadata).await
    }

    /// Takes what a reset of a user's day costs, and writes the reset down with it.
    pub async fn charge_reset(&self, new: &NewReset) -> Result<PaidReset, ChargeError> {
        let Mode::Enabled { refill } = self.mode else { return Err(ChargeError::Disabled) };
        self.store.ensure_user(&new.user).await?;
        self.fill_up(&new.user, refill).await?;
        self.store.charge_reset(new).await
    }

    /// Gives an amount to a known user, once a key. This is also how a spend is taken back
    /// ([`TransactionKey::refund`]): no payment provider is asked.
    pub async fn grant(
        &self,
        user: &UserId,
        amount: Amount,
        key: &TransactionKey,
        metadata: &Metadata,
    ) -> Result<Recorded, GrantError> {
        let Mode::Enabled { refill } = self.mode else { return Err(GrantError::Disabled) };
        // First, or the month's refill would be the less by what is granted.
        self.fill_up(user, refill).await?;
        self.store.grant_credits(user, amount, key, metadata).await
    }

    /// What a user has.
    pub async fn balance(&self, user: &UserId) -> Result<Cents, StoreError> {
        let Mode::Enabled { refill } = self.mode else { return Ok(DISABLED_BALANCE) };
        self.store.ensure_user(user).await?;
        self.fill_up(user, refill).await?;
        self.store.credit_balance(user).await
    }

    /// A user's newest transactions before a sequence number, or the newest of all; newest first.
    pub async fn transactions(
        &self,
        user: &UserId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Transaction>, StoreError> {
        self.store.credit_transactions(user, before, limit).await
    }

    /// Gives the month's refill if it is due. It is due before every look and every change: a spend
    /// must not be refused for want of credits that the month has brought.
    async fn fill_up(&self, user: &UserId, refill: Cents) -> Result<(), StoreError> {
        let key = TransactionKey::of_refill(Utc::now());
        if refill == Cents::ZERO || self.store.has_transaction(user, &key).await? {
            return Ok(());
        }
        self.store.refill_credits(user, refill, &key, &Metadata::reason("Monthly credits")).await
    }
}
