//! The ways to show who one is, as the OpenAPI document tells of them.

use poem_openapi::registry::{MetaSecurityScheme, Registry};

use super::CLAIM_HEADER;

/// One way to show who one is.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    /// A token in `Authorization`.
    Bearer,
    /// The token of a session without an owner.
    Claim,
    /// What stands for either in the address of a stream.
    Ticket,
}

impl Scheme {
    /// Its name in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Claim => "claim_token",
            Self::Ticket => "ticket",
        }
    }

    /// Writes it into the document.
    pub fn register(self, registry: &mut Registry) {
        registry.create_security_scheme(self.name(), self.described());
    }

    fn described(self) -> MetaSecurityScheme {
        match self {
            Self::Bearer => MetaSecurityScheme {
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                ..scheme("http", "A JWT with audience `authenticated`; `sub` is the user's id")
            },
            Self::Claim => MetaSecurityScheme {
                name: Some(CLAIM_HEADER),
                key_in: Some("header"),
                ..scheme("apiKey", "The claim token of an anonymous session, where there are such")
            },
            Self::Ticket => MetaSecurityScheme {
                name: Some("ticket"),
                key_in: Some("query"),
                ..scheme("apiKey", "A ticket of `issue_stream_ticket`, for clients that can send no header")
            },
        }
    }
}

fn scheme(ty: &'static str, description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty,
        description: Some(description),
        name: None,
        key_in: None,
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}
