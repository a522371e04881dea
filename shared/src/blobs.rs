//! The bytes of files: in a directory, or in an S3-compatible object store.
//!
//! A blob is written once, whole or not at all, and never changed.

use std::fmt;
use std::path::{Path as Directory, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::id::WorkspaceId;

/// Blobs are sent in parts of this size; the smallest that S3 takes.
const PART_BYTES: usize = 5 << 20;

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct BlobKey(String);

impl BlobKey {
    /// A key of a workspace, made of nothing that users choose.
    pub fn new(workspace: WorkspaceId, id: Uuid) -> Self {
        Self(format!("{workspace}/{id}"))
    }

    fn path(&self) -> Path {
        // A directory for each, so that what a dead process left beside the blob goes with it.
        Path::from(format!("{}/blob", self.0))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The blob store failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store cannot be reached, is full, or refused.
    #[error("the file store is not available")]
    Store(#[source] object_store::Error),
    /// The directory cannot be used.
    #[error("the file store is not available")]
    Directory(#[source] std::io::Error),
    /// A blob is longer than the caller can take.
    #[error("the file is larger than {0} bytes")]
    TooLong(usize),
}

/// How an object store is reached.
#[derive(Clone)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// Where the store is, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: String,
    /// Access key and secret.
    pub keys: Option<(String, String)>,
}

/// The blob store.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The directory, if it is one.
    directory: Option<PathBuf>,
}

impl Blobs {
    /// Blobs in a directory, which is made if it is not there.
    pub fn directory(directory: &Directory) -> Result<Self, BlobError> {
        std::fs::create_dir_all(directory).map_err(BlobError::Directory)?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(BlobError::Store)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), directory: Some(directory.to_owned()) })
    }

    /// Blobs in a bucket.
    pub fn s3(settings: S3Settings) -> Result<Self, BlobError> {
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(settings.bucket).with_region(settings.region);
        if let Some(endpoint) = settings.endpoint {
            builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
        }
        if let Some((id, secret)) = settings.keys {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(BlobError::Store)?;
        Ok(Self { store: Arc::new(store), directory: None })
    }

    /// Begins to write a blob.
    pub fn write(&self, key: &BlobKey) -> BlobWriter {
        BlobWriter(BufWriter::with_capacity(Arc::clone(&self.store), key.path(), PART_BYTES).with_max_concurrency(2))
    }

    /// Begins to read a blob, or a part of it. `None` if there is no such blob.
    pub async fn read(
        &self,
        key: &BlobKey,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<BlobReader>, BlobError> {
        if range.as_ref().is_some_and(std::ops::Range::is_empty) {
            return Ok(Some(BlobReader(futures_util::stream::empty().boxed())));
        }
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        match self.store.get_opts(&key.path(), options).await {
            Ok(found) => Ok(Some(BlobReader(found.into_stream()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::Store(error)),
        }
    }

    /// Deletes a blob and whatever was left of an attempt to write it. One that is not there is
    /// as good as deleted.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        if let Some(directory) = &self.directory {
            return match tokio::fs::remove_dir_all(directory.join(&key.0)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BlobError::Directory(error)),
                _ => Ok(()),
            };
        }
        match self.store.delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobError::Store(error)),
        }
    }
}

/// A blob that is being written. Nobody sees it before it is finished.
#[derive(Debug)]
pub struct BlobWriter(BufWriter);

impl BlobWriter {
    /// Writes more bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.0.put(bytes).await.map_err(BlobError::Store)
    }

    /// Makes it a blob.
    pub async fn finish(mut self) -> Result<(), BlobError> {
        self.0.shutdown().await.map_err(BlobError::Directory)
    }

    /// Gives it up.
    pub async fn abort(mut self) {
        if let Err(error) = self.0.abort().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the parts of a blob were left behind");
        }
    }
}

/// The bytes of a blob.
pub struct BlobReader(BoxStream<'static, Result<Bytes, object_store::Error>>);

impl BlobReader {
    /// The next bytes.
    pub async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        Some(self.0.next().await?.map_err(BlobError::Store))
    }

    /// The bytes as they come.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, BlobError>> {
        self.0.map(|piece| piece.map_err(BlobError::Store)).boxed()
    }

    /// All bytes, if they are at most `limit`.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BlobError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
            if all.len() > limit {
                return Err(BlobError::TooLong(limit));
            }
        }
        Ok(all.freeze())
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobReader")
    }
}
