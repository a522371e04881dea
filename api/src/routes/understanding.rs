//! What is known of the caller: read, added to and forgotten by themselves; and what they might ask.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::Tag;
use super::models::NoContent;
use super::sessions::Signed;
use crate::app::App;
use crate::auth::SignedIn;
use crate::body::JsonBody;
use crate::problem::{Refused, Statuses};

mod models;

use models::{SuggestedPromptsResponse, UnderstandingResponse, UpdateUnderstandingRequest};

pub(super) struct UnderstandingRoutes;

pub(super) struct SignedWithBody;
impl Statuses for SignedWithBody {
    const STATUSES: &'static [u16] = &[400, 401, 413, 415, 422, 500, 503];
}

#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Understanding")]
impl UnderstandingRoutes {
    /// What the caller might ask
    ///
    /// From what is known of them; no themes if there is nothing.
    #[oai(path = "/suggested-prompts", method = "get", operation_id = "get_suggested_prompts")]
    async fn suggested_prompts(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
    ) -> Result<Json<SuggestedPromptsResponse>, Refused<Signed>> {
        Ok(Json(app.understanding(&who.0).await?.suggested_prompts.into()))
    }

    /// What is known of the caller
    ///
    /// All of it is told to the model before each conversation.
    #[oai(path = "/understanding", method = "get", operation_id = "get_understanding")]
    async fn read(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
    ) -> Result<Json<UnderstandingResponse>, Refused<Signed>> {
        Ok(Json(app.understanding(&who.0).await?.into()))
    }

    /// Tell what should be known of the caller
    ///
    /// Texts replace what was known, lists are added to it without repeating it, suggested prompts
    /// are replaced as a whole. What is absent, null or blank changes nothing. Every turn from now
    /// on knows it.
    #[oai(path = "/understanding", method = "patch", operation_id = "update_understanding")]
    async fn update(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        body: JsonBody<UpdateUnderstandingRequest>,
    ) -> Result<Json<UnderstandingResponse>, Refused<SignedWithBody>> {
        let learned = body.0.learned()?;
        Ok(Json(app.merge_understanding(&who.0, learned).await?.into()))
    }

    /// Forget everything that is known of the caller
    ///
    /// The conversations stay.
    #[oai(path = "/understanding", method = "delete", operation_id = "delete_understanding")]
    async fn forget(&self, Data(app): Data<&Arc<App>>, who: SignedIn) -> Result<NoContent, Refused<Signed>> {
        app.forget_understanding(&who.0).await?;
        Ok(NoContent::Done)
    }
}
