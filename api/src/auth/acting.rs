//! Who calls, and in whose name: the one place where an admin becomes another user.

use copilot_shared::id::UserId;
use copilot_shared::session::Caller;
use poem::Request;
use poem::http::StatusCode;

use super::extract::{app, gate};
use super::{AuthError, Credential, Identity, UserRole};
use crate::problem::{Code, FieldError, Problem};

/// The header that names the user as whom an admin acts (`usage-tools.md` §3).
pub const ACT_AS_HEADER: &str = "X-Act-As-User-Id";

/// A signed-in user.
pub(super) async fn user(request: &Request) -> Result<UserId, Problem> {
    let identity = gate(request)?.identify(request).await?;
    Ok(match in_whose_name(request, identity).await? {
        Name::Own(user) | Name::Others { user, .. } => user,
    })
}

/// Whoever calls a session's route: a user, or the bearer of an anonymous session's claim token.
pub(super) async fn caller(request: &Request) -> Result<Caller, Problem> {
    match gate(request)?.credential(request).await? {
        Credential::Token(identity) => Ok(match in_whose_name(request, identity).await? {
            Name::Own(user) => Caller::User(user),
            Name::Others { user, admin } => Caller::ActingAs { user, admin },
        }),
        Credential::Claim(hash) => only_oneself(request).map(|()| Caller::Claim(hash)),
        Credential::Nothing => Err(AuthError::Missing.into()),
    }
}

/// Whoever wants a new session; nobody in particular where that is allowed.
pub(super) async fn anyone(request: &Request) -> Result<Option<UserId>, Problem> {
    match gate(request)?.credential(request).await? {
        Credential::Token(identity) => Ok(Some(match in_whose_name(request, identity).await? {
            Name::Own(user) | Name::Others { user, .. } => user,
        })),
        Credential::Claim(_) | Credential::Nothing => only_oneself(request).map(|()| None),
    }
}

/// Under which name a token's bearer acts.
enum Name {
    Own(UserId),
    Others { user: UserId, admin: UserId },
}

async fn in_whose_name(request: &Request, identity: Identity) -> Result<Name, Problem> {
    let Some(user) = wanted(request, identity.role)? else { return Ok(Name::Own(identity.user)) };
    let (method, path) = (request.method().as_str(), request.uri().path());
    app(request)?.note_impersonation(&identity.user, &user, method, path).await?;
    Ok(Name::Others { user, admin: identity.user })
}

/// Whoever is no user acts in nobody's name.
pub(super) fn only_oneself(request: &Request) -> Result<(), Problem> {
    wanted(request, UserRole::User).map(|_| ())
}

/// The user whom the header names. A header that cannot be read is refused, and never taken for
/// none: the admin would act under their own name without knowing.
fn wanted(request: &Request, role: UserRole) -> Result<Option<UserId>, Problem> {
    let mut given = request.headers().get_all(ACT_AS_HEADER).iter();
    let (first, more) = (given.next(), given.next());
    let Some(first) = first else { return Ok(None) };
    if role != UserRole::Admin {
        let detail = "Only admin users can impersonate other users";
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::ImpersonationForbidden, detail));
    }
    let named = std::str::from_utf8(first.as_bytes()).ok().filter(|_| more.is_none()).and_then(UserId::parse);
    let refuse = || {
        let detail = "one user's id of 1 to 255 bytes";
        Problem::invalid(FieldError::at("header", ACT_AS_HEADER, "value_error", detail))
    };
    named.ok_or_else(refuse).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[&str], role: UserRole) -> Result<Option<UserId>, u16> {
        let request = values.iter().fold(Request::builder(), |request, value| request.header(ACT_AS_HEADER, *value));
        wanted(&request.finish(), role).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn an_admin_names_exactly_one_user() {
        assert_eq!(named(&[], UserRole::Admin), Ok(None));
        for name in ["ann", "zo\u{eb}"] {
            assert_eq!(named(&[name], UserRole::Admin), Ok(UserId::parse(name)));
        }
        let long = "x".repeat(256);
        for wrong in [&[""][..], &["ann", "bob"], &["ann", "ann"], &[long.as_str()]] {
            assert_eq!(named(wrong, UserRole::Admin), Err(422), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_else_names_anybody_whatever_the_name() {
        assert_eq!(named(&[], UserRole::User), Ok(None));
        for name in ["ann", ""] {
            assert_eq!(named(&[name], UserRole::User), Err(403));
        }
    }
}
