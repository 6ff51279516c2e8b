//! Memory that the platform holds for JavaScript outside of V8, so that it counts against the isolate's limit: the
//! contents of `Blob`s.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deno_core::url::Url;
use deno_web::{Blob, BlobPart, BlobStore, BlobStoreTrait, InMemoryBlobPart};
use uuid::Uuid;

/// A count of bytes.
#[derive(Debug, Default)]
pub struct HeldMemory(AtomicUsize);

impl HeldMemory {
    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

type Part = Arc<dyn BlobPart + Send + Sync>;

/// The contents of an isolate's blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    store: BlobStore,
    held: Arc<HeldMemory>,
}

impl Blobs {
    pub(crate) fn new(held: Arc<HeldMemory>) -> Self {
        Self { store: BlobStore::default(), held }
    }
}

/// A part that is counted as long as it lives.
#[derive(Debug)]
struct Counted {
    part: Part,
    held: Arc<HeldMemory>,
}

impl Counted {
    fn new(part: Part, held: Arc<HeldMemory>) -> Self {
        held.0.fetch_add(part.size(), Ordering::Relaxed);
        Self { part, held }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.part.size(), Ordering::Relaxed);
    }
}

// As `async_trait` writes it.
impl BlobPart for Counted {
    fn read<'a, 'async_trait>(&'a self) -> Pin<Box<dyn Future<Output = &'a [u8]> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        self.part.read()
    }

    fn size(&self) -> usize {
        self.part.size()
    }
}

/// Whether a part holds bytes itself. What else there is, a slice of a part and a part that is counted already, points to
/// another part.
fn holds_bytes(part: &Part) -> bool {
    size_of_val(&**part) == size_of::<InMemoryBlobPart>()
}

impl BlobStoreTrait for Blobs {
    fn insert_part(&self, part: Part) -> Uuid {
        let part = if holds_bytes(&part) { Arc::new(Counted::new(part, Arc::clone(&self.held))) } else { part };
        self.store.insert_part(part)
    }

    fn get_part(&self, id: &Uuid) -> Option<Part> {
        self.store.get_part(id)
    }

    fn remove_part(&self, id: &Uuid) -> Option<Part> {
        self.store.remove_part(id)
    }

    fn get_object_url(&self, url: Url) -> Option<Arc<Blob>> {
        self.store.get_object_url(url)
    }

    fn insert_object_url(&self, blob: Blob, location: Option<Url>) -> Url {
        self.store.insert_object_url(blob, location)
    }

    fn remove_object_url(&self, url: &Url) {
        self.store.remove_object_url(url);
    }

    fn clear(&self) {
        self.store.clear();
    }
}
