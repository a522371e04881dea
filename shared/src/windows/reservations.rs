//! Giving reservations back, and finding those whose turn is gone.
//!
//! The index of all reservations is changed by the scripts that make and end them: nothing that is
//! lost or that dies can come between. In a cluster it is in another slot, and is noted before and
//! dropped after: only the loss of its data alone leaves reservations that nobody finds, which count
//! against their user until they are too old.

use chrono::{DateTime, TimeDelta, Utc};
use fred::prelude::*;

use super::{SCRIPTS, Windows, WindowsError, within};
use crate::id::{TurnId, UserId};

/// A reservation that was not looked at for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose.
    pub user: UserId,
    /// The turn that it is for.
    pub turn: TurnId,
}

impl Windows {
    /// Gives back what a turn has reserved, if anything.
    pub async fn release(&self, user: &UserId, turn: TurnId) -> Result<(), WindowsError> {
        let keys = [self.reserved_key(user)].into_iter().chain(self.reservations_key_of_scripts()).collect();
        let args: Vec<Value> = vec![turn.to_string().into(), member(user, turn).into()];
        let _one: i64 = self.run(&SCRIPTS.release, keys, args).await?;
        self.drop_note_elsewhere(user, turn).await
    }

    /// What the turns of a user have reserved, each with its amount.
    pub async fn reserved(&self, user: &UserId) -> Result<Vec<(TurnId, i64)>, WindowsError> {
        let fields: std::collections::HashMap<String, String> =
            within(self.pool.next().hgetall(self.reserved_key(user))).await?;
        fields
            .iter()
            .map(|(turn, held)| {
                let amount = held.split(':').next().and_then(|amount| amount.parse().ok());
                turn.parse().ok().zip(amount).ok_or(WindowsError::Corrupt)
            })
            .collect()
    }

    /// Takes reservations that were made, or looked at, `age` ago or earlier. Each is due again
    /// after another `age`, so that processes share them.
    pub async fn take_old_reservations(
        &self,
        age: TimeDelta,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Reservation>, WindowsError> {
        let client = self.pool.next();
        let oldest = (now - age).timestamp_millis();
        let members: Vec<String> = within(client.zrangebyscore(
            self.reservations_key(),
            f64::NEG_INFINITY,
            milliseconds(oldest),
            false,
            Some((0, limit)),
        ))
        .await?;
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let later: Vec<(f64, String)> =
            members.iter().map(|member| (milliseconds(now.timestamp_millis()), member.clone())).collect();
        // Only what is still there: a turn may end meanwhile.
        let _moved: i64 =
            within(client.zadd(self.reservations_key(), Some(SetOptions::XX), None, false, false, later)).await?;
        Ok(members.iter().filter_map(|member| parse(member)).collect())
    }

    /// Notes a reservation that is about to be made, where the script that makes it cannot.
    pub(super) async fn note_elsewhere(
        &self,
        user: &UserId,
        turn: TurnId,
        now: DateTime<Utc>,
    ) -> Result<(), WindowsError> {
        if self.clustered {
            let member = (milliseconds(now.timestamp_millis()), member(user, turn));
            let _added: i64 =
                within(self.pool.next().zadd(self.reservations_key(), None, None, false, false, member)).await?;
        }
        Ok(())
    }

    /// Drops the note of a reservation that is gone, where the script that ends it cannot.
    pub(super) async fn drop_note_elsewhere(&self, user: &UserId, turn: TurnId) -> Result<(), WindowsError> {
        if self.clustered {
            let _gone: i64 = within(self.pool.next().zrem(self.reservations_key(), member(user, turn))).await?;
        }
        Ok(())
    }
}

/// A reservation in the index.
pub(super) fn member(user: &UserId, turn: TurnId) -> String {
    format!("{turn} {user}")
}

fn parse(member: &str) -> Option<Reservation> {
    let (turn, user) = member.split_once(' ')?;
    Some(Reservation { user: UserId::parse(user)?, turn: turn.parse().ok()? })
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double for 285,000 years")]
fn milliseconds(since_1970: i64) -> f64 {
    since_1970 as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_whatever_the_user_is_called() {
        for name in ["ann", "a b", "a:b {c}", "ü"] {
            let reservation = Reservation { user: UserId::parse(name).unwrap(), turn: TurnId::generate() };
            assert_eq!(parse(&member(&reservation.user, reservation.turn)), Some(reservation));
        }
        assert_eq!(parse("nonsense"), None);
    }
}
