//! From a folder on disk to a manifest and its files: for an upload, and for the development server.
//! <https://developers.cloudflare.com/workers/static-assets/binding/#directory>

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, FileType};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::contents::FileContents;
use crate::manifest::{
    AssetHash, AssetHasher, File, MAX_FILE_SIZE, Manifest, ManifestBuilder, ManifestError, Variants,
};

/// The file that says, like a `.gitignore`, which files are left out.
pub const IGNORE_FILE: &str = ".assetsignore";
/// The file of header rules.
pub const HEADERS_FILE: &str = "_headers";
/// The file of redirects.
pub const REDIRECTS_FILE: &str = "_redirects";

/// How deep folders may be nested.
const DEEPEST: usize = 128;
/// How much later than a file's time of change a further change surely gets another one: the clock of file systems has ticks of
/// up to 10 ms, and some round to 2 s.
const SETTLED: Duration = Duration::from_secs(2);
/// The largest `_headers`, `_redirects` and `.assetsignore` in bytes: more than all lines that have an effect.
const LARGEST_RULES: u64 = 4 * 1024 * 1024;

/// Why a folder cannot be uploaded. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The folder is not there, or is none.
    #[error("the assets folder {} does not exist: create it, or build the project first", .0.display())]
    NoFolder(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}; check its permissions, or leave it out with {IGNORE_FILE}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A name that is not UTF-8.
    #[error("the name of {} is not UTF-8: rename it, or leave it out with {IGNORE_FILE}", .0.display())]
    Name(PathBuf),
    /// A line of `.assetsignore` that is no pattern.
    #[error("{IGNORE_FILE} has a pattern that makes no sense: {0}; write it as in a .gitignore")]
    Ignore(ignore::Error),
    /// A text of rules that is too large, or not UTF-8.
    #[error("{} is not a text of at most {LARGEST_RULES} bytes: save it in UTF-8, and shorten it", .0.display())]
    Rules(PathBuf),
    /// Folders in folders in folders.
    #[error("{} is nested deeper than {DEEPEST} folders: move it up, or leave it out with {IGNORE_FILE}", .0.display())]
    Deep(PathBuf),
    /// The script of a Pages project, which everybody could read.
    #[error("{} is the script of a Pages project, and as an asset everybody could read it: write _worker.js into {IGNORE_FILE}, or an empty {IGNORE_FILE} to upload it", .0.display())]
    PagesScript(PathBuf),
    /// A file that a manifest cannot have.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A folder of assets as it was found.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Its files.
    pub manifest: Manifest,
    /// Where each content is, by its hash.
    files: HashMap<AssetHash, PathBuf>,
    /// The text of `_headers`.
    pub headers: Option<String>,
    /// The text of `_redirects`.
    pub redirects: Option<String>,
    /// Links that were not followed: those to folders, and those that lead out of the folder.
    pub skipped_links: Vec<PathBuf>,
    /// What is known of each file, so that one that did not change is not read again.
    seen: HashMap<PathBuf, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    size: u64,
    modified: SystemTime,
    hash: AssetHash,
    /// It was read so long after its last change that a further one has another time.
    is_settled: bool,
}

impl Folder {
    /// Reads a folder: every file but those that `.assetsignore` names, `.assetsignore`, `_headers` and `_redirects`. Blocks.
    ///
    /// # Errors
    /// Something in it cannot be read or uploaded; the message names it.
    pub fn read(folder: &Path) -> Result<Self, UploadError> {
        Self::default().read_again(folder)
    }

    /// Reads the folder again; of files whose size and time of change are the same, the hash is taken from the last time, unless
    /// they had just been changed then. Blocks.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn read_again(&self, folder: &Path) -> Result<Self, UploadError> {
        let root = folder.canonicalize().ok().filter(|root| root.is_dir());
        let root = root.ok_or_else(|| UploadError::NoFolder(folder.to_owned()))?;
        let ignored = rules_file(&root, IGNORE_FILE)?;
        let mut walk = Walk {
            before: self,
            ignore: gitignore(&root, ignored.as_deref().unwrap_or_default())?,
            refuses_pages_script: ignored.is_none(),
            root,
            builder: ManifestBuilder::default(),
            found: Self::default(),
        };
        let top = walk.root.clone();
        walk.folder(&top, "", 0)?;
        let Walk { root, builder, found, .. } = walk;
        Ok(Self {
            manifest: builder.build()?,
            headers: rules_file(&root, HEADERS_FILE)?,
            redirects: rules_file(&root, REDIRECTS_FILE)?,
            ..found
        })
    }

    /// The file on disk that has a content.
    pub fn file(&self, hash: AssetHash) -> Option<&Path> {
        self.files.get(&hash).map(PathBuf::as_path)
    }

    /// The contents, read from disk.
    pub fn contents(&self) -> FileContents {
        FileContents(self.files.clone())
    }
}

struct Walk<'a> {
    before: &'a Folder,
    root: PathBuf,
    ignore: Gitignore,
    refuses_pages_script: bool,
    builder: ManifestBuilder,
    found: Folder,
}

impl Walk<'_> {
    /// Reads a folder whose path in the manifest is `prefix`.
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), UploadError> {
        if depth > DEEPEST {
            return Err(UploadError::Deep(folder.to_owned()));
        }
        let failed = |error| UploadError::Read { path: folder.to_owned(), error };
        let mut entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().map_err(failed)?;
            if self.ignore.matched(&path, kind.is_dir()).is_ignore() {
                continue;
            }
            let name = entry.file_name();
            let Some(name) = name.to_str() else { return Err(UploadError::Name(path)) };
            let place = format!("{prefix}/{name}");
            if self.refuses_pages_script && place == "/_worker.js" {
                return Err(UploadError::PagesScript(path));
            }
            if kind.is_dir() {
                self.folder(&path, &place, depth + 1)?;
            } else if let Some(path) = self.file_behind(&path, kind) {
                self.file(&path, &place)?;
            }
        }
        Ok(())
    }

    /// The file itself, or the one a link leads to. Pipes, sockets and devices are none.
    fn file_behind(&mut self, path: &Path, kind: FileType) -> Option<PathBuf> {
        if !kind.is_symlink() {
            return kind.is_file().then(|| path.to_owned());
        }
        let target = path.canonicalize().ok().filter(|target| target.starts_with(&self.root) && target.is_file());
        if target.is_none() {
            self.found.skipped_links.push(path.to_owned());
        }
        target
    }

    fn file(&mut self, path: &Path, place: &str) -> Result<(), UploadError> {
        let failed = |error| UploadError::Read { path: path.to_owned(), error };
        let metadata = fs::metadata(path).map_err(failed)?;
        let (size, modified) = (metadata.len(), metadata.modified().map_err(failed)?);
        if size > MAX_FILE_SIZE {
            return Err(ManifestError::Size { path: place.to_owned(), size }.into());
        }
        let is_settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED);
        let before = self.before.seen.get(path);
        let (hash, size) = match before.filter(|seen| seen.is_settled && (seen.size, seen.modified) == (size, modified))
        {
            Some(seen) => (seen.hash, size),
            None => hash_of(path).map_err(failed)?,
        };
        let content_type = content_type(place).map(Cow::into_owned);
        self.builder.add(place, &File { hash, size, content_type, variants: Variants::default() })?;
        self.found.files.insert(hash, path.to_owned());
        self.found.seen.insert(path.to_owned(), Seen { size, modified, hash, is_settled });
        Ok(())
    }
}

/// The hash of a file, and how many bytes were hashed: it may have grown.
fn hash_of(path: &Path) -> io::Result<(AssetHash, u64)> {
    let mut file = fs::File::open(path)?;
    let mut hasher = AssetHasher::default();
    let mut piece = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hasher.finish(extension(path)), size)),
            read => {
                hasher.update(&piece[..read]);
                size += read as u64;
            }
        }
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// What `.assetsignore` and the files of rules leave out.
fn gitignore(root: &Path, text: &str) -> Result<Gitignore, UploadError> {
    let mut builder = GitignoreBuilder::new(root);
    let own = [IGNORE_FILE, HEADERS_FILE, REDIRECTS_FILE].map(|name| format!("/{name}"));
    for line in own.iter().map(String::as_str).chain(text.lines()) {
        builder.add_line(None, line).map_err(UploadError::Ignore)?;
    }
    builder.build().map_err(UploadError::Ignore)
}

/// The text of a file of rules in the folder itself, if it is there.
fn rules_file(root: &Path, name: &str) -> Result<Option<String>, UploadError> {
    let path = root.join(name);
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(UploadError::Read { path, error }),
    };
    let mut text = Vec::new();
    if let Err(error) = file.take(LARGEST_RULES + 1).read_to_end(&mut text) {
        return Err(UploadError::Read { path, error });
    }
    let text = String::from_utf8(text).ok().filter(|text| text.len() as u64 <= LARGEST_RULES);
    text.map(Some).ok_or(UploadError::Rules(path))
}

/// The content type of a file by its name, with the character set for texts, as wrangler sends it.
pub fn content_type(path: &str) -> Option<Cow<'static, str>> {
    // the last dot of the name, unless the name begins with it
    let name = path.rsplit('/').next().unwrap_or_default();
    let (_, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    let extension = extension.to_ascii_lowercase();
    // what the table has under older names than browsers use
    let kind = match extension.as_str() {
        "js" | "mjs" => "text/javascript",
        "json" | "map" => "application/json",
        "cjs" => "application/node",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "ico" => "image/vnd.microsoft.icon",
        "avif" => "image/avif",
        "jxl" => "image/jxl",
        "webp" => "image/webp",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ts" => "video/mp2t",
        "md" | "markdown" => "text/markdown",
        "yaml" | "yml" => "text/yaml",
        "ics" => "text/calendar",
        "vtt" => "text/vtt",
        other => mime_guess::from_ext(other).first_raw()?,
    };
    let has_charset = !kind.starts_with("text/") || kind.contains("charset");
    Some(if has_charset { Cow::Borrowed(kind) } else { Cow::Owned(format!("{kind}; charset=utf-8")) })
}
