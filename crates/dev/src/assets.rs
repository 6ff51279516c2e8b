//! The project's static assets, as one build found them. A file that changed since then is another build's.

use std::sync::Arc;

use skep_assets::{Answer, Script, Server, Site};
use skep_bundle::BuiltAssets;
use skep_exchange::{Failure, Request};
use skep_worker::Version;

/// A site over the folder on disk. Nothing is kept in memory.
pub(crate) struct Assets {
    site: Site,
    server: Server,
}

impl Assets {
    /// The assets of a build, beside its version. Rules that are wrong were reported by the build, and are left out.
    pub(crate) fn new(built: &BuiltAssets, version: &Version) -> Self {
        let script = if version.has_script() { Script::With(&version.compatibility) } else { Script::None };
        let (site, _) = Site::new(built.folder.manifest.clone(), &built.config, script);
        Self { site, server: Server::new(Arc::new(built.folder.contents()), 0) }
    }

    /// What becomes of a client's request.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        self.server.answer(&self.site, request)
    }

    /// What becomes of a request of the Worker itself.
    pub(crate) fn fetch(&self, request: &Request) -> Answer {
        self.server.fetch(&self.site, request)
    }
}

/// A file that cannot be read, or is not there any more.
pub(crate) fn unreadable(error: &std::io::Error) -> Failure {
    Failure::unusable(format!("a static asset cannot be read: {error}"))
}
