//! The files of a user's workspace (`usage-tools.md` §5.3).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use copilot_shared::id::{FileId, SessionId};
use copilot_shared::workspace::{File, StorageUsage};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::Tag;
use crate::app::App;
use crate::app::files::Announced;
use crate::auth::SignedIn;
use crate::problem::{Problem, Refused, Statuses, UploadFault};

mod download;
mod pieces;
mod range;
mod upload;

use download::Download;
use upload::Form;

pub(super) struct FileRoutes;

/// A file that was uploaded.
#[derive(Debug, Object)]
pub(super) struct UploadFileResponse {
    /// Its id.
    file_id: Uuid,
    /// Its name.
    name: String,
    /// Where it is in the workspace.
    path: String,
    /// Its type.
    mime_type: String,
    /// Its size in bytes.
    size_bytes: i64,
}

/// Where a file can be downloaded.
pub(super) fn download_url(file: FileId) -> String {
    format!("/api/workspace/files/{file}/download")
}

/// A file in a list.
#[derive(Debug, Object)]
pub(super) struct FileResponse {
    /// Its id.
    file_id: Uuid,
    /// Its name.
    name: String,
    /// Where it is in the workspace.
    path: String,
    /// Its type.
    mime_type: String,
    /// Its size in bytes.
    size_bytes: i64,
    /// When it was written.
    created_at: DateTime<Utc>,
}

/// A page of files.
#[derive(Debug, Object)]
pub(super) struct ListFilesResponse {
    /// The page, newest first.
    files: Vec<FileResponse>,
    /// How many there are on all pages.
    total: i64,
}

/// The file is gone.
#[derive(Debug, Object)]
pub(super) struct DeleteFileResponse {
    /// Always true.
    deleted: bool,
}

/// What the caller's files take up.
#[derive(Debug, Object)]
pub(super) struct StorageUsageResponse {
    /// Bytes of all files.
    used_bytes: i64,
    /// Bytes that they may have.
    limit_bytes: i64,
    /// The share that is used, in percent, to one place.
    used_percent: f64,
    /// How many files there are.
    file_count: i64,
}

impl From<File> for UploadFileResponse {
    fn from(file: File) -> Self {
        Self {
            file_id: file.id.0,
            name: file.name,
            path: file.path.as_str().to_owned(),
            mime_type: file.mime_type,
            size_bytes: file.size_bytes,
        }
    }
}

impl From<File> for FileResponse {
    fn from(file: File) -> Self {
        Self {
            file_id: file.id.0,
            name: file.name,
            path: file.path.as_str().to_owned(),
            mime_type: file.mime_type,
            size_bytes: file.size_bytes,
            created_at: file.created_at,
        }
    }
}

impl From<StorageUsage> for StorageUsageResponse {
    fn from(usage: StorageUsage) -> Self {
        Self {
            used_bytes: usage.used_bytes,
            limit_bytes: usage.limit_bytes,
            used_percent: usage.used_percent(),
            file_count: usage.file_count,
        }
    }
}

pub(super) struct Uploading;
impl Statuses for Uploading {
    const STATUSES: &'static [u16] = &[400, 401, 404, 408, 409, 413, 415, 422, 429, 500, 503];

    fn schema(status: u16) -> Option<MetaSchemaRef> {
        (status == 413).then(UploadFault::schema_ref)
    }

    fn register(registry: &mut Registry) {
        UploadFault::register(registry);
    }
}

pub(super) struct Listing;
impl Statuses for Listing {
    const STATUSES: &'static [u16] = &[401, 422, 500, 503];
}

pub(super) struct Named;
impl Statuses for Named {
    const STATUSES: &'static [u16] = &[401, 404, 500, 503];
}

pub(super) struct Ranged;
impl Statuses for Ranged {
    const STATUSES: &'static [u16] = &[401, 404, 416, 500, 503];
}

pub(super) struct Asking;
impl Statuses for Asking {
    const STATUSES: &'static [u16] = &[401, 500, 503];
}

#[OpenApi(prefix_path = "/api/workspace", tag = "Tag::Workspace")]
impl FileRoutes {
    /// Upload a file
    ///
    /// The form's field `file` is stored as it comes. A file that has the path stays unless
    /// `overwrite` says otherwise. A few files are taken at once, the others wait. Files are not
    /// scanned for viruses.
    #[oai(path = "/files/upload", method = "post", operation_id = "upload_file")]
    async fn upload(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        /// The conversation in whose directory the file is to be
        session_id: Query<Option<Uuid>>,
        /// Whether the file takes the place of one that has its path
        #[oai(default)]
        overwrite: Query<bool>,
        form: Form,
    ) -> Result<Json<UploadFileResponse>, Refused<Uploading>> {
        let place = (session_id.0.map(SessionId), overwrite.0);
        let upload = form.store(|name, mime_type| {
            let announced = Announced { session: place.0, name, mime_type, overwrite: place.1 };
            async { Ok(app.begin_upload(&who.0, announced).await?) }
        });
        let file = app.finish_upload(&who.0, upload.await?).await?;
        Ok(Json(file.into()))
    }

    /// List files
    ///
    /// Newest first: all of the caller's, or those of one conversation.
    #[oai(path = "/files", method = "get", operation_id = "list_files")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        /// Only the files of this conversation
        session_id: Query<Option<Uuid>>,
        /// How many
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<i64>,
        /// How many are left out
        #[oai(default, validator(minimum(value = "0")))]
        offset: Query<i64>,
    ) -> Result<Json<ListFilesResponse>, Refused<Listing>> {
        let session = session_id.0.map(SessionId);
        let (files, total) = app.list_files(&who.0, session, limit.0, offset.0).await?;
        Ok(Json(ListFilesResponse { files: files.into_iter().map(FileResponse::from).collect(), total }))
    }

    /// Download a file
    ///
    /// Or a part of it. It comes as an attachment, whatever its type.
    #[oai(path = "/files/:id/download", method = "get", operation_id = "download_file")]
    async fn download(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        /// The file
        id: Path<String>,
        /// The bytes that are wanted; several ranges are answered with the whole file
        range: Header<Option<String>>,
        /// Only if the file still has this `ETag`; else the whole file
        #[oai(name = "If-Range")]
        if_range: Header<Option<String>>,
    ) -> Result<Download, Refused<Ranged>> {
        let file = app.find_file(&who.0, file_id(&id.0)?).await?;
        let size = u64::try_from(file.size_bytes).unwrap_or(0);
        let range = range.0.filter(|_| if_range.0.is_none_or(|tag| tag.trim() == download::etag(&file)));
        let part = match range.map(|range| range::parse(&range, size)) {
            None | Some(range::Wanted::Whole) => None,
            Some(range::Wanted::Part(part)) => Some(part),
            Some(range::Wanted::Nothing) => return Err(Problem::no_such_range(size).into()),
        };
        let bytes = app.read_file(&file, part.clone()).await?;
        Ok(Download { file, part, bytes })
    }

    /// Delete a file
    ///
    /// For good. Messages that name it stay as they are.
    #[oai(path = "/files/:id", method = "delete", operation_id = "delete_file")]
    async fn delete(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        /// The file
        id: Path<String>,
    ) -> Result<Json<DeleteFileResponse>, Refused<Named>> {
        app.delete_file(&who.0, file_id(&id.0)?).await?;
        Ok(Json(DeleteFileResponse { deleted: true }))
    }

    /// Get the storage usage
    ///
    /// What the caller's files take up, and may.
    #[oai(path = "/storage/usage", method = "get", operation_id = "get_storage_usage")]
    async fn usage(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
    ) -> Result<Json<StorageUsageResponse>, Refused<Asking>> {
        Ok(Json(app.storage_usage(&who.0).await?.into()))
    }
}

/// What is no id is nobody's file.
fn file_id(text: &str) -> Result<FileId, Problem> {
    text.parse().map_err(|_| Problem::no_file())
}

fn fifty() -> i64 {
    50
}
