//! Where a pool finds what it runs: versions, and the files that they consist of.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use skep_store::{FileHash, Files, LoadError, Opened, StoreError};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::directory::Found;

/// A question that is being answered.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// Why a source does not give what it has: for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<LoadError> for SourceError {
    fn from(error: LoadError) -> Self {
        Self(error.to_string())
    }
}

/// Who knows the versions. It is asked once for each version that comes into use, on a runtime where no request is held up.
pub trait Source: Send + Sync {
    /// A version of a Worker, with its secrets.
    fn version(&self, worker: Uuid, version: Uuid) -> Asking<'_, Option<Opened>>;

    /// The newest version that answers at an address of its own. Nothing if there is none, and for an address of a Worker.
    fn preview<'a>(&'a self, found: &'a Found) -> Asking<'a, Option<Uuid>>;

    /// The file of a static asset, by the asset's hash, in a coding.
    fn asset(&self, hash: String, encoding: String) -> Asking<'_, Option<FileHash>>;
}

/// The files of a data directory, read on threads that may block.
#[derive(Clone)]
pub(crate) struct Reader(Arc<Files>);

impl Reader {
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(Arc::new(Files::of(data_dir)))
    }

    pub(crate) async fn read<T: Send + 'static, E: Into<SourceError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, E> + Send + 'static,
    ) -> Result<T, SourceError> {
        let files = Arc::clone(&self.0);
        let read = spawn_blocking(move || work(&files)).await;
        read.map_err(|error| SourceError(error.to_string()))?.map_err(Into::into)
    }
}
