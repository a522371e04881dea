//! The admin as an argument of a route.

use copilot_shared::id::UserId;
use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::extract::{BEARER, gate, register_bearer};
use super::{Identity, UserRole};
use crate::problem::{Code, Problem};

/// Somebody with an admin's token: the admin's own id, in whose name nobody else ever acts here.
pub struct Admin(pub UserId);

impl Admin {
    fn of(identity: Identity) -> Result<Self, Problem> {
        match identity.role {
            UserRole::Admin => Ok(Self(identity.user)),
            UserRole::User => Err(Problem::new(StatusCode::FORBIDDEN, Code::AdminRequired, "Admin access required")),
        }
    }
}

impl<'a> ApiExtractor<'a> for Admin {
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
        let identity = gate(request)?.identify(request).await.map_err(Problem::from)?;
        Ok(Self::of(identity)?)
    }
}
