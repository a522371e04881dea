//! Who calls: the bearer of a token, or of an anonymous session's claim token.

use copilot_shared::session::Caller;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::problem::Problem;
use crate::token::Identity;

/// The name of the scheme in the OpenAPI document.
const BEARER: &str = "bearer";
/// The header that carries an anonymous session's claim token.
const CLAIM_TOKEN: &str = "X-Claim-Token";

/// A signed-in user.
#[derive(Debug)]
pub struct SignedIn(pub Identity);

/// A signed-in user, or the bearer of a claim token where anonymous sessions are allowed.
#[derive(Debug)]
pub struct AnyCaller(pub Caller);

/// A signed-in user, or nobody where anonymous sessions are allowed.
#[derive(Debug)]
pub struct PerhapsSignedIn(pub Option<Identity>);

/// The hash under which a claim token is stored.
pub fn claim_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn bearer_token(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header(AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn app(request: &Request) -> Result<&App, Problem> {
    request.data::<App>().ok_or_else(|| Problem::internal(&std::io::Error::other("the app is not in the request")))
}

fn identify(request: &Request) -> Result<Option<Identity>, Problem> {
    let Some(token) = bearer_token(request) else { return Ok(None) };
    let verified = app(request)?.verifier.verify(token);
    verified.map(Some).map_err(|error| Problem::unauthorized(error.to_string()))
}

fn missing() -> Problem {
    Problem::unauthorized("Authorization header is missing")
}

fn anonymous_allowed(request: &Request) -> Result<bool, Problem> {
    Ok(app(request)?.settings.allow_anonymous)
}

impl SignedIn {
    fn of(request: &Request) -> Result<Self, Problem> {
        identify(request)?.map(Self).ok_or_else(missing)
    }
}

impl AnyCaller {
    fn of(request: &Request) -> Result<Self, Problem> {
        if let Some(identity) = identify(request)? {
            return Ok(Self(Caller::User(identity.user_id)));
        }
        match request.header(CLAIM_TOKEN) {
            Some(token) if anonymous_allowed(request)? => Ok(Self(Caller::Claim(claim_hash(token)))),
            Some(_) | None => Err(missing()),
        }
    }
}

impl PerhapsSignedIn {
    fn of(request: &Request) -> Result<Self, Problem> {
        match identify(request)? {
            None if !anonymous_allowed(request)? => Err(missing()),
            identity => Ok(Self(identity)),
        }
    }
}

macro_rules! security_extractor {
    ($name:ident) => {
        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                registry.create_security_scheme(BEARER, bearer_scheme());
            }

            fn security_schemes() -> Vec<&'static str> {
                vec![BEARER]
            }

            async fn from_request(
                request: &'a Request,
                _body: &mut RequestBody,
                _options: ExtractParamOptions<Self::ParamType>,
            ) -> poem::Result<Self> {
                Ok(Self::of(request)?)
            }
        }
    };
}

security_extractor!(SignedIn);
security_extractor!(AnyCaller);
security_extractor!(PerhapsSignedIn);

fn bearer_scheme() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "http",
        description: Some("A JSON Web Token with the audience `authenticated`; `sub` is the user id."),
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        bearer_format: Some("JWT"),
        flows: None,
        openid_connect_url: None,
    }
}
