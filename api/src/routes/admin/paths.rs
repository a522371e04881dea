//! What an admin's path names, whoever's it is. What is no id at all names nothing.

use copilot_shared::id::{DeadLetterId, TurnId};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchemaRef};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

use crate::problem::Problem;

/// The name that poem-openapi gives to the first part of a path.
const FIRST: &str = "param0";

macro_rules! path_of {
    ($(#[$doc:meta])* $name:ident($id:ty), $missing:expr) => {
        $(#[$doc])*
        pub(super) struct $name(pub(super) $id);

        impl<'a> ApiExtractor<'a> for $name {
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
                let text = request.raw_path_param(FIRST).unwrap_or_default();
                Ok(Self(text.parse().map_err(|_| $missing(text))?))
            }
        }
    };
}

path_of!(
    /// A turn.
    AnyTurnPath(TurnId),
    Problem::no_turn
);
path_of!(
    /// A dead letter.
    DeadLetterPath(DeadLetterId),
    Problem::no_dead_letter
);
