//! Settings of the workspace, the same for API and workers.

use std::path::PathBuf;

use clap::Args;

use super::{WorkspaceLimits, Workspaces};
use crate::blobs::{BlobError, Blobs, S3Settings};
use crate::store::Store;

/// Where users' files live, and how much there may be.
#[derive(Clone, Args)]
pub struct WorkspaceConfig {
    /// The directory of users' files, which API and workers must share; unused with an object store
    #[arg(long, env, hide_env_values = true, default_value = ".data/workspace")]
    pub workspace_dir: PathBuf,
    /// Megabytes (2^20 bytes) of all files of a user
    #[arg(long, env, hide_env_values = true, default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=1 << 30))]
    pub workspace_quota_mb: u64,
    /// Megabytes (2^20 bytes) of one file
    #[arg(long, env, hide_env_values = true, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5 << 10))]
    pub max_file_size_mb: u64,
    /// The bucket of an S3-compatible object store that holds users' files instead of a directory
    #[arg(long, env, hide_env_values = true)]
    pub workspace_s3_bucket: Option<String>,
    /// Where the object store is, if it is not Amazon's; `http://` is taken at its word
    #[arg(long, env, hide_env_values = true)]
    pub workspace_s3_endpoint: Option<String>,
    /// The region of the bucket
    #[arg(long, env, hide_env_values = true, default_value = "us-east-1")]
    pub workspace_s3_region: String,
    /// The object store's access key; if unset, AWS_ACCESS_KEY_ID and the like, or the machine's role
    #[arg(long, env, hide_env_values = true)]
    workspace_s3_access_key_id: Option<String>,
    /// The secret to the access key
    #[arg(long, env, hide_env_values = true)]
    workspace_s3_secret_access_key: Option<String>,
}

impl std::fmt::Debug for WorkspaceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the keys.
        f.debug_struct("WorkspaceConfig").field("workspace_dir", &self.workspace_dir).finish_non_exhaustive()
    }
}

impl WorkspaceConfig {
    /// The workspaces.
    pub fn workspaces(&self, store: Store) -> Result<Workspaces, BlobError> {
        let blobs = match &self.workspace_s3_bucket {
            Some(bucket) => Blobs::s3(S3Settings {
                bucket: bucket.clone(),
                endpoint: self.workspace_s3_endpoint.clone(),
                region: self.workspace_s3_region.clone(),
                keys: self.workspace_s3_access_key_id.clone().zip(self.workspace_s3_secret_access_key.clone()),
            })?,
            None => Blobs::directory(&self.workspace_dir)?,
        };
        let limits = WorkspaceLimits {
            quota_bytes: i64::try_from(self.workspace_quota_mb << 20).unwrap_or(i64::MAX),
            max_file_bytes: self.max_file_size_mb << 20,
        };
        Ok(Workspaces::new(store, blobs, limits))
    }
}
