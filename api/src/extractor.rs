//! Arguments of routes that are read before the body is looked at: who asks, and what the path names.

/// Makes a type an argument of routes.
///
/// `by [SCHEMES]` says how its bearer shows who they are, `at` that a part of the path is an id; `read`
/// makes it of the request.
macro_rules! extractor {
    ($name:ident by [$($scheme:ident),+], $read:expr) => {
        $crate::extractor::extractor!(@ $name, [SecurityScheme], false, (), None, None, [$($scheme),+], $read);
    };
    ($name:ident by [$($scheme:ident),+] at path, $read:expr) => {
        $crate::extractor::extractor!(
            @ $name, [SecurityScheme, Parameter], true, uuid::Uuid, Some(poem_openapi::registry::MetaParamIn::Path),
            Some(<uuid::Uuid as poem_openapi::types::Type>::schema_ref()), [$($scheme),+], $read
        );
    };
    ($name:ident at path, $read:expr) => {
        $crate::extractor::extractor!(
            @ $name, [Parameter], true, uuid::Uuid, Some(poem_openapi::registry::MetaParamIn::Path),
            Some(<uuid::Uuid as poem_openapi::types::Type>::schema_ref()), [], $read
        );
    };
    (
        @ $name:ident, [$($part:ident),+], $required:literal, $param:ty, $place:expr, $schema:expr,
        [$($scheme:ident),*], $read:expr
    ) => {
        impl<'a> poem_openapi::ApiExtractor<'a> for $name {
            const TYPES: &'static [poem_openapi::ApiExtractorType] = &[$(poem_openapi::ApiExtractorType::$part),+];
            const PARAM_IS_REQUIRED: bool = $required;
            type ParamType = $param;
            type ParamRawType = $param;

            fn register(_registry: &mut poem_openapi::registry::Registry) {
                $($crate::auth::Scheme::$scheme.register(_registry);)*
            }

            fn security_schemes() -> Vec<&'static str> {
                vec![$($crate::auth::Scheme::$scheme.name()),*]
            }

            fn param_in() -> Option<poem_openapi::registry::MetaParamIn> {
                $place
            }

            fn param_schema_ref() -> Option<poem_openapi::registry::MetaSchemaRef> {
                $schema
            }

            async fn from_request(
                request: &'a poem::Request,
                _body: &mut poem::RequestBody,
                _options: poem_openapi::ExtractParamOptions<$param>,
            ) -> poem::Result<Self> {
                let read = $read;
                Ok(read(request).await?)
            }
        }
    };
}

pub(crate) use extractor;

/// The `n`-th part of a path that is no fixed word, from 0 on; empty where there is none.
pub fn part_of_path(request: &poem::Request, n: usize) -> &str {
    // The names that poem-openapi gives to them.
    request.raw_path_param(&format!("param{n}")).unwrap_or_default()
}
