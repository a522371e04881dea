//! Making a session, for a user or for the bearer of a claim token.

use copilot_shared::id::{SessionId, UserId};
use copilot_shared::session::{Caller, Session};
use copilot_shared::store::StoreError;

use super::App;
use crate::auth::{claim_hash, new_claim_token};

/// A fresh session.
pub struct Created {
    /// The session.
    pub session: Session,
    /// What its bearer must show, if it has no owner.
    pub claim_token: Option<String>,
}

impl App {
    /// Makes a session; one without an owner gets a claim token.
    pub async fn create_session(&self, owner: Option<UserId>) -> Result<Created, StoreError> {
        let (id, caller, claim_token) = if let Some(user) = owner {
            (SessionId::generate(), Caller::User(user), None)
        } else {
            let token = new_claim_token();
            (SessionId::random(), Caller::Claim(claim_hash(&token)), Some(token))
        };
        let session = self.store.create_session(id, &caller).await?;
        Ok(Created { session, claim_token })
    }
}
