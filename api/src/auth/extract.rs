//! The caller and the session as arguments of a route, each checked before the body is looked at.

use std::sync::Arc;

use copilot_shared::id::{SessionId, TurnId, UserId};
use copilot_shared::session::{Caller, Session};
use poem::Request;
use poem::http::StatusCode;
use poem::http::header::AUTHORIZATION;

use super::{CLAIM_HEADER, Gate, Identity, Tickets, UserRole, acting};
use crate::app::App;
use crate::extractor::{extractor, part_of_path};
use crate::problem::{Code, Problem};

/// Somebody with a token.
pub struct SignedIn(pub UserId);

/// Somebody with an admin's token: the admin's own id, in whose name nobody else ever acts here.
pub struct Admin(pub UserId);

/// Somebody with a token, or nobody in particular where that is allowed.
pub struct Anyone(pub Option<UserId>);

/// A caller whose session is named in the body.
pub struct Asking(pub Caller);

/// The session that a path names, whoever asks.
pub struct NamedSession(pub SessionId);

/// A caller and the session whose streams they want to follow, perhaps with a ticket. Nothing says
/// yet that it is theirs.
pub struct FollowedSession(pub Place);

/// Who asks for which session.
#[derive(Debug, Clone)]
pub struct Place {
    /// Who asks.
    pub caller: Caller,
    /// The session that they name.
    pub session: SessionId,
}

/// A session of the caller's.
pub struct OwnedSession {
    /// Who asks.
    pub caller: Caller,
    /// Their session.
    pub session: Session,
}

/// The turn that a path names.
pub struct TurnPath(pub TurnId);

extractor!(SignedIn by [Bearer], async |request| acting::user(request).await.map(SignedIn));
extractor!(Anyone by [Bearer], async |request| acting::anyone(request).await.map(Anyone));
extractor!(Asking by [Bearer, Claim], async |request| acting::caller(request).await.map(Asking));
extractor!(Admin by [Bearer], admin);
extractor!(NamedSession at path, async |request| session_id(request).map(NamedSession));
extractor!(TurnPath at path, async |request| turn_id(request).map(TurnPath));
extractor!(OwnedSession by [Bearer, Claim] at path, owned_session);
extractor!(FollowedSession by [Bearer, Claim, Ticket] at path, followed_session);

pub(super) fn gate(request: &Request) -> Result<&Arc<Gate>, Problem> {
    request.data().ok_or_else(Problem::internal)
}

pub(super) fn app(request: &Request) -> Result<&Arc<App>, Problem> {
    request.data().ok_or_else(Problem::internal)
}

async fn admin(request: &Request) -> Result<Admin, Problem> {
    let Identity { user, role, .. } = gate(request)?.identify(request).await.map_err(Problem::from)?;
    match role {
        UserRole::Admin => Ok(Admin(user)),
        UserRole::User => Err(Problem::new(StatusCode::FORBIDDEN, Code::AdminRequired, "Admin access required")),
    }
}

async fn place(request: &Request) -> Result<Place, Problem> {
    let caller = acting::caller(request).await?;
    Ok(Place { caller, session: session_id(request)? })
}

fn session_id(request: &Request) -> Result<SessionId, Problem> {
    let text = part_of_path(request, 0);
    text.parse().map_err(|_| Problem::no_session(text))
}

fn turn_id(request: &Request) -> Result<TurnId, Problem> {
    let text = part_of_path(request, 1);
    text.parse().map_err(|_| Problem::no_turn(text))
}

async fn owned_session(request: &Request) -> Result<OwnedSession, Problem> {
    let place = place(request).await?;
    let session = app(request)?.owned_session(&place).await.map_err(Problem::from)?;
    Ok(OwnedSession { caller: place.caller, session })
}

async fn followed_session(request: &Request) -> Result<FollowedSession, Problem> {
    let shows_nothing = [AUTHORIZATION.as_str(), CLAIM_HEADER].iter().all(|name| request.header(name).is_none());
    match ticket(request) {
        Some(ticket) if shows_nothing => {
            acting::only_oneself(request)?;
            let tickets: &Arc<Tickets> = request.data().ok_or_else(Problem::internal)?;
            Ok(FollowedSession(tickets.read(&ticket, session_id(request)?).await?))
        }
        // A header that is not valid is not made good by a ticket.
        Some(_) | None => Ok(FollowedSession(place(request).await?)),
    }
}

/// The ticket in the query.
fn ticket(request: &Request) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Query {
        ticket: Option<String>,
    }
    request.params::<Query>().ok()?.ticket.filter(|ticket| !ticket.is_empty())
}
