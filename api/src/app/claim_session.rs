//! Making an anonymous session a user's.

use copilot_shared::id::{SessionId, UserId};
use copilot_shared::store::ClaimSessionError;

use super::App;
use crate::auth::claim_hash;

impl App {
    /// Claims a session with its token, once; the owner's own call changes nothing.
    pub async fn claim_session(
        &self,
        session: SessionId,
        user: &UserId,
        token: Option<&str>,
    ) -> Result<(), ClaimSessionError> {
        let hash = token.map(claim_hash);
        self.store.claim_session(session, user, hash.as_ref().map(<[u8; 32]>::as_slice)).await
    }
}
