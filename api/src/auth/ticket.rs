//! Tickets: what opens the event streams of one session for a minute, for clients that can send no
//! header. The browser's `EventSource` is one.
//!
//! A ticket tells by itself who asks for what and until when, and any API process accepts it. It is in
//! a URL, and URLs are seen by proxies and logs: so it opens nothing else, and not for long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use copilot_shared::id::{SessionId, UserId};
use copilot_shared::session::Caller;
use copilot_shared::store::{Store, StoreError};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::{AuthError, Place};
use crate::problem::Problem;

/// How long a ticket opens streams.
const LIFETIME: Duration = Duration::from_mins(1);

/// No token of a user has it, and no ticket has theirs.
const AUDIENCE: &str = "copilot:stream";

/// The name of the secret in the database.
const SECRET: &str = "stream_tickets";

/// Signs and reads tickets.
pub struct Tickets {
    store: Store,
    /// Where tokens are verified with a public key there is nothing to derive a secret from.
    derived: Option<Vec<u8>>,
    stored: OnceCell<Vec<u8>>,
}

/// A fresh ticket.
pub struct Ticket {
    /// What stands in `?ticket=`.
    pub text: String,
    /// From when on it opens nothing.
    pub expires_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    exp: u64,
    session: SessionId,
    bearer: Bearer,
}

/// Who asks, as the ticket tells.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bearer {
    User(UserId),
    ActingAs { user: UserId, admin: UserId },
    Claim([u8; 32]),
}

impl From<&Caller> for Bearer {
    fn from(caller: &Caller) -> Self {
        match caller {
            Caller::User(user) => Self::User(user.clone()),
            Caller::ActingAs { user, admin } => Self::ActingAs { user: user.clone(), admin: admin.clone() },
            Caller::Claim(hash) => Self::Claim(*hash),
        }
    }
}

impl From<Bearer> for Caller {
    fn from(bearer: Bearer) -> Self {
        match bearer {
            Bearer::User(user) => Self::User(user),
            Bearer::ActingAs { user, admin } => Self::ActingAs { user, admin },
            Bearer::Claim(hash) => Self::Claim(hash),
        }
    }
}

impl Tickets {
    /// Tickets signed with `secret`, or with one that the deployment keeps in its database.
    pub fn new(store: Store, secret: Option<Vec<u8>>) -> Self {
        Self { store, derived: secret, stored: OnceCell::new() }
    }

    /// A ticket for the streams of a session. That it is the caller's is not looked at here.
    pub async fn issue(&self, place: &Place) -> Result<Ticket, Problem> {
        let expires = SystemTime::now() + LIFETIME;
        let exp = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims { aud: AUDIENCE.into(), exp, session: place.session, bearer: (&place.caller).into() };
        let key = EncodingKey::from_secret(self.secret().await?);
        let text = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| {
            tracing::error!(%error, "a ticket could not be signed");
            Problem::internal()
        })?;
        let expires_at = i64::try_from(exp).ok().and_then(|exp| DateTime::from_timestamp(exp, 0));
        Ok(Ticket { text, expires_at: expires_at.unwrap_or_default() })
    }

    /// Who asks with a ticket for a session's streams.
    pub async fn read(&self, ticket: &str, session: SessionId) -> Result<Place, Problem> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0;
        let key = DecodingKey::from_secret(self.secret().await?);
        let claims = jsonwebtoken::decode::<Claims>(ticket, &key, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => AuthError::TicketExpired,
                _ => AuthError::Ticket,
            })?
            .claims;
        if claims.session != session {
            return Err(AuthError::Ticket.into());
        }
        Ok(Place { caller: claims.bearer.into(), session })
    }

    async fn secret(&self) -> Result<&[u8], StoreError> {
        if let Some(secret) = &self.derived {
            return Ok(secret);
        }
        let made = || self.store.deployment_secret(SECRET, rand::random());
        self.stored.get_or_try_init(made).await.map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::store::StoreSettings;
    use poem::http::StatusCode;

    /// Tickets that need no database.
    fn tickets() -> Tickets {
        let settings =
            StoreSettings { lease: Duration::from_secs(10), max_running: 0, max_in_flight: 0, connections: 1 };
        let store = Store::new("postgres://nobody@127.0.0.1:1/none", settings).unwrap();
        Tickets::new(store, Some(b"secret".to_vec()))
    }

    fn ticket(audience: &str, seconds: i64, key: &[u8]) -> (SessionId, String) {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let session = SessionId::generate();
        let exp = u64::try_from(now + seconds).unwrap();
        let bearer = Bearer::Claim([7; 32]);
        let claims = Claims { aud: audience.into(), exp, session, bearer };
        let key = EncodingKey::from_secret(key);
        (session, jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap())
    }

    async fn read(audience: &str, seconds: i64, key: &[u8]) -> Result<Caller, crate::problem::Code> {
        let (session, text) = ticket(audience, seconds, key);
        let place = tickets().read(&text, session).await;
        place.map(|place| place.caller).map_err(|problem| {
            assert_eq!(problem.status(), StatusCode::UNAUTHORIZED);
            problem.code()
        })
    }

    #[tokio::test]
    async fn a_ticket_is_good_until_it_expires() {
        assert_eq!(read(AUDIENCE, 5, b"secret").await, Ok(Caller::Claim([7; 32])));
        assert_eq!(read(AUDIENCE, -2, b"secret").await, Err(crate::problem::Code::TokenExpired));
    }

    #[tokio::test]
    async fn another_key_or_another_purpose_is_refused() {
        assert_eq!(read(AUDIENCE, 5, b"other").await, Err(crate::problem::Code::Unauthorized));
        assert_eq!(read("authenticated", 5, b"secret").await, Err(crate::problem::Code::Unauthorized));
    }
}
