//! The caller and the session as arguments of a route, each checked before the body is looked at.

use std::sync::Arc;

use copilot_shared::id::{SessionId, TurnId, UserId};
use copilot_shared::session::{Caller, Session};
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchemaRef, MetaSecurityScheme, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

use super::{CLAIM_HEADER, Gate, Tickets, acting};
use crate::app::App;
use crate::problem::Problem;

pub(super) const BEARER: &str = "bearer";
const CLAIM: &str = "claim_token";
const TICKET: &str = "ticket";

/// The names that poem-openapi gives to the parts of a path, in order.
const FIRST: &str = "param0";
const SECOND: &str = "param1";

/// Somebody with a token.
pub struct SignedIn(pub UserId);

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

pub(super) fn gate(request: &Request) -> Result<&Arc<Gate>, Problem> {
    request.data().ok_or_else(Problem::internal)
}

pub(super) fn app(request: &Request) -> Result<&Arc<App>, Problem> {
    request.data().ok_or_else(Problem::internal)
}

async fn place(request: &Request) -> Result<Place, Problem> {
    let caller = acting::caller(request).await?;
    Ok(Place { caller, session: session_id(request)? })
}

fn session_id(request: &Request) -> Result<SessionId, Problem> {
    let text = request.raw_path_param(FIRST).unwrap_or_default();
    text.parse().map_err(|_| Problem::no_session(text))
}

pub(super) fn register_bearer(registry: &mut Registry) {
    registry.create_security_scheme(
        BEARER,
        MetaSecurityScheme {
            ty: "http",
            description: Some("A JWT with audience `authenticated`; `sub` is the user's id"),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: Some("JWT"),
            flows: None,
            openid_connect_url: None,
        },
    );
}

fn register_claim(registry: &mut Registry) {
    registry.create_security_scheme(
        CLAIM,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some("The claim token of an anonymous session, where there are such"),
            name: Some(CLAIM_HEADER),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        },
    );
}

fn register_ticket(registry: &mut Registry) {
    registry.create_security_scheme(
        TICKET,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some("A ticket of `issue_stream_ticket`, for clients that can send no header"),
            name: Some("ticket"),
            key_in: Some("query"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        },
    );
}

impl<'a> ApiExtractor<'a> for SignedIn {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_bearer(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(acting::user(request).await?))
    }
}

impl<'a> ApiExtractor<'a> for Anyone {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_bearer(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(acting::anyone(request).await?))
    }
}

impl<'a> ApiExtractor<'a> for Asking {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_bearer(registry);
        register_claim(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, CLAIM]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(acting::caller(request).await?))
    }
}

impl<'a> ApiExtractor<'a> for NamedSession {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = Uuid;
    type ParamRawType = Uuid;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Path)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(Uuid::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Uuid>,
    ) -> poem::Result<Self> {
        Ok(Self(session_id(request)?))
    }
}

impl<'a> ApiExtractor<'a> for FollowedSession {
    const TYPES: &'static [ApiExtractorType] = OwnedSession::TYPES;
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = Uuid;
    type ParamRawType = Uuid;

    fn register(registry: &mut Registry) {
        OwnedSession::register(registry);
        register_ticket(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, CLAIM, TICKET]
    }

    fn param_in() -> Option<MetaParamIn> {
        OwnedSession::param_in()
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        OwnedSession::param_schema_ref()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Uuid>,
    ) -> poem::Result<Self> {
        let shows_nothing = [AUTHORIZATION.as_str(), CLAIM_HEADER].iter().all(|name| request.header(name).is_none());
        match ticket(request) {
            Some(ticket) if shows_nothing => {
                acting::only_oneself(request)?;
                let tickets: &Arc<Tickets> = request.data().ok_or_else(Problem::internal)?;
                Ok(Self(tickets.read(&ticket, session_id(request)?).await?))
            }
            // A header that is not valid is not made good by a ticket.
            Some(_) | None => Ok(Self(place(request).await?)),
        }
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

impl<'a> ApiExtractor<'a> for OwnedSession {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme, ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = Uuid;
    type ParamRawType = Uuid;

    fn register(registry: &mut Registry) {
        register_bearer(registry);
        register_claim(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, CLAIM]
    }

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Path)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(Uuid::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Uuid>,
    ) -> poem::Result<Self> {
        let place = place(request).await?;
        let session = app(request)?.owned_session(&place).await.map_err(Problem::from)?;
        Ok(Self { caller: place.caller, session })
    }
}

impl<'a> ApiExtractor<'a> for TurnPath {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = Uuid;
    type ParamRawType = Uuid;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Path)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(Uuid::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Uuid>,
    ) -> poem::Result<Self> {
        let text = request.raw_path_param(SECOND).unwrap_or_default();
        Ok(Self(text.parse().map_err(|_| Problem::no_turn(text))?))
    }
}
