//! From a path to a file: what `html_handling` and `not_found_handling` mean.
//! <https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/>
//!
//! Where that page's tables say `307 to /folder` and Cloudflare's server sends to `/folder/` at once, this does as the server.

use crate::config::{HtmlHandling, NotFoundHandling};
use crate::manifest::{Asset, Manifest};

/// What a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Lookup<'m> {
    /// A file that is served here.
    File(Asset<'m>),
    /// The same file is served at another path, which is decoded.
    Redirect(String),
    /// No file.
    Nothing,
}

/// The files of a manifest as pages.
#[derive(Clone, Copy)]
pub(crate) struct Pages<'m> {
    pub(crate) manifest: &'m Manifest,
    pub(crate) html_handling: HtmlHandling,
}

const INDEX: &str = "/index";
const INDEX_HTML: &str = "/index.html";
const HTML: &str = ".html";

impl<'m> Pages<'m> {
    /// What a decoded path leads to.
    pub(crate) fn lookup(self, path: &str) -> Lookup<'m> {
        let exact = self.manifest.get(path);
        let found = match self.html_handling {
            HtmlHandling::None => exact.map(Lookup::File),
            _ if path.ends_with(INDEX) => exact.map(Lookup::File).or_else(|| self.index(path, INDEX)),
            _ if path.ends_with(INDEX_HTML) => self.index(path, INDEX_HTML),
            _ if path.ends_with('/') => self.folder(path),
            _ if path.ends_with(HTML) => self.html(path, exact),
            _ => None,
        };
        found.or_else(|| self.plain(path, exact)).unwrap_or(Lookup::Nothing)
    }

    /// `/page/index` and `/page/index.html`.
    fn index(self, path: &str, suffix: &str) -> Option<Lookup<'m>> {
        let folder = &path[..path.len() - suffix.len()];
        let exact = self.manifest.get(path);
        let folders_page = (folder, INDEX_HTML);
        let page = (folder, HTML);
        match self.html_handling {
            HtmlHandling::AutoTrailingSlash => {
                self.redirect(folders_page, (folder, "/")).or_else(|| self.redirect(page, (folder, "")))
            }
            HtmlHandling::ForceTrailingSlash => {
                self.redirect(folders_page, (folder, "/")).or_else(|| self.redirect(page, (folder, "/")))
            }
            HtmlHandling::DropTrailingSlash if folder.is_empty() => self.redirect(folders_page, ("", "/")),
            HtmlHandling::DropTrailingSlash if suffix == INDEX => {
                self.redirect(page, (folder, "")).or_else(|| self.redirect(folders_page, (folder, "")))
            }
            HtmlHandling::DropTrailingSlash => self
                .redirect(folders_page, (folder, ""))
                // there is a /page.html too, which has taken /page: this one is at its own path only
                .or_else(|| exact.map(Lookup::File))
                .or_else(|| self.redirect(page, (folder, ""))),
            HtmlHandling::None => None,
        }
    }

    /// `/page/`.
    fn folder(self, path: &str) -> Option<Lookup<'m>> {
        let folder = &path[..path.len() - 1];
        let folders_page = || self.manifest.find(folder, INDEX_HTML).map(Lookup::File);
        let page = || self.manifest.find(folder, HTML).map(Lookup::File);
        match self.html_handling {
            HtmlHandling::AutoTrailingSlash => folders_page().or_else(|| self.redirect((folder, HTML), (folder, ""))),
            HtmlHandling::ForceTrailingSlash => folders_page().or_else(page),
            HtmlHandling::DropTrailingSlash if folder.is_empty() => folders_page(),
            HtmlHandling::DropTrailingSlash => self
                .redirect((folder, HTML), (folder, ""))
                .or_else(|| self.redirect((folder, INDEX_HTML), (folder, ""))),
            HtmlHandling::None => None,
        }
    }

    /// `/page.html`.
    fn html(self, path: &str, exact: Option<Asset<'m>>) -> Option<Lookup<'m>> {
        let page = &path[..path.len() - HTML.len()];
        match self.html_handling {
            HtmlHandling::AutoTrailingSlash => {
                self.redirect((path, ""), (page, "")).or_else(|| self.redirect((page, INDEX_HTML), (page, "/")))
            }
            HtmlHandling::ForceTrailingSlash => self
                .redirect((path, ""), (page, "/"))
                // there is a /page/index.html too, which has taken /page/: this one is at its own path only
                .or_else(|| exact.map(Lookup::File))
                .or_else(|| self.redirect((page, INDEX_HTML), (page, "/"))),
            HtmlHandling::DropTrailingSlash => {
                self.redirect((path, ""), (page, "")).or_else(|| self.redirect((page, INDEX_HTML), (page, "")))
            }
            HtmlHandling::None => None,
        }
    }

    /// `/page`, and every other path of which nothing more is known.
    fn plain(self, path: &str, exact: Option<Asset<'m>>) -> Option<Lookup<'m>> {
        let exact = exact.map(Lookup::File);
        match self.html_handling {
            HtmlHandling::None => exact,
            _ if path.ends_with('/') => exact,
            HtmlHandling::AutoTrailingSlash => exact
                .or_else(|| self.manifest.find(path, HTML).map(Lookup::File))
                .or_else(|| self.redirect((path, INDEX_HTML), (path, "/"))),
            HtmlHandling::ForceTrailingSlash => exact
                .or_else(|| self.redirect((path, HTML), (path, "/")))
                .or_else(|| self.redirect((path, INDEX_HTML), (path, "/"))),
            HtmlHandling::DropTrailingSlash => exact
                .or_else(|| self.manifest.find(path, HTML).map(Lookup::File))
                .or_else(|| self.manifest.find(path, INDEX_HTML).map(Lookup::File)),
        }
    }

    /// A redirect to where a file is served, if it is that file and no other that is served there.
    fn redirect(self, file: (&str, &str), to: (&str, &str)) -> Option<Lookup<'m>> {
        let file = self.manifest.find(file.0, file.1)?;
        let to = [to.0, to.1].concat();
        if to.is_empty() || self.manifest.get(&to).is_some() {
            return None;
        }
        let served = self.served_at(&to)?;
        (served.hash() == file.hash()).then_some(Lookup::Redirect(to))
    }

    /// The file that is served at a path that is no file's own.
    fn served_at(self, path: &str) -> Option<Asset<'m>> {
        let folder = path.strip_suffix('/');
        match (self.html_handling, folder) {
            (HtmlHandling::AutoTrailingSlash, Some(folder)) => self.manifest.find(folder, INDEX_HTML),
            (HtmlHandling::AutoTrailingSlash, None) => self.manifest.find(path, HTML),
            (HtmlHandling::ForceTrailingSlash, Some(folder)) => {
                self.manifest.find(folder, INDEX_HTML).or_else(|| self.manifest.find(folder, HTML))
            }
            (HtmlHandling::DropTrailingSlash, Some("")) => self.manifest.get(INDEX_HTML),
            (HtmlHandling::DropTrailingSlash, None) => {
                self.manifest.find(path, HTML).or_else(|| self.manifest.find(path, INDEX_HTML))
            }
            (HtmlHandling::ForceTrailingSlash, None)
            | (HtmlHandling::DropTrailingSlash, Some(_))
            | (HtmlHandling::None, _) => None,
        }
    }
}

/// The file that answers a path without one, and whether its status is 404.
pub(crate) fn not_found<'m>(
    manifest: &'m Manifest,
    handling: NotFoundHandling,
    path: &str,
) -> Option<(Asset<'m>, bool)> {
    match handling {
        NotFoundHandling::None => None,
        NotFoundHandling::SinglePageApplication => Some((manifest.get(INDEX_HTML)?, false)),
        NotFoundHandling::Page => {
            let mut folder = path;
            while let Some(end) = folder.rfind('/') {
                folder = &folder[..end];
                if let Some(page) = manifest.find(folder, "/404.html") {
                    return Some((page, true));
                }
            }
            None
        }
    }
}
