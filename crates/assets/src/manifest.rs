//! The manifest: which files a version has, by the path at which each was uploaded.
//!
//! It is kept flat, as 100,000 files are allowed and many sites are loaded at once: all paths in one text, sorted, and 40 bytes
//! beside each. A path is found by binary search, also one that is given in two parts, so that nothing is allocated to ask
//! for `/page` and then for `/page.html`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

use http::HeaderValue;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Encoding;
pub use crate::hash::{AssetHash, AssetHasher};

/// The most files a version may have. <https://developers.cloudflare.com/workers/platform/limits/#static-assets>
pub const MAX_FILES: usize = 100_000;
/// The largest file in bytes: 25 MiB. <https://developers.cloudflare.com/workers/platform/limits/#static-assets>
pub const MAX_FILE_SIZE: u64 = 25 * 1024 * 1024;
/// The longest path in bytes.
pub const MAX_PATH: usize = 2_048;

/// The sizes in bytes of a file's compressed variants; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variants([u32; Encoding::COMPRESSED.len()]);

impl Variants {
    /// The variant's size in bytes, if there is one.
    pub fn size(&self, encoding: Encoding) -> Option<u64> {
        let place = Encoding::COMPRESSED.iter().position(|compressed| *compressed == encoding)?;
        Some(self.0[place]).filter(|size| *size > 0).map(u64::from)
    }

    /// Adds a variant. One of no bytes, or of more than a file may have, is none.
    pub fn add(&mut self, encoding: Encoding, size: u64) {
        let place = Encoding::COMPRESSED.iter().position(|compressed| *compressed == encoding);
        let size = u32::try_from(size).ok().filter(|size| u64::from(*size) <= MAX_FILE_SIZE);
        if let (Some(place), Some(size)) = (place, size) {
            self.0[place] = size;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|size| *size == 0)
    }
}

impl Serialize for Variants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let present = Encoding::COMPRESSED.into_iter().filter_map(|encoding| Some((encoding, self.size(encoding)?)));
        serializer.collect_map(present)
    }
}

impl<'de> Deserialize<'de> for Variants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut variants = Self::default();
        for (encoding, size) in HashMap::<Encoding, u64>::deserialize(deserializer)? {
            variants.add(encoding, size);
        }
        Ok(variants)
    }
}

/// One file, as it is written in a manifest. wrangler's has the first two fields only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// What identifies its content.
    pub hash: AssetHash,
    /// Its size in bytes.
    pub size: u64,
    /// Its `Content-Type`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The variants that are stored beside it.
    #[serde(default, skip_serializing_if = "Variants::is_empty")]
    pub variants: Variants,
}

/// What is wrong with a manifest. Each message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Does not begin with a slash.
    #[error("the asset path \"{0}\" does not begin with /: write it from the folder's root, as in /index.html")]
    Relative(String),
    /// Has an empty, `.` or `..` segment, or ends with a slash.
    #[error("the asset path \"{0}\" has an empty segment, \".\" or \"..\": write the plain way to the file")]
    Segment(String),
    /// Has a backslash, a NUL or another control character.
    #[error("the asset path \"{0}\" has a backslash or a control character: rename the file")]
    Character(String),
    /// Longer than [`MAX_PATH`].
    #[error("the asset path \"{0}\" is longer than {MAX_PATH} bytes: shorten it")]
    Long(String),
    /// Twice the same path.
    #[error("the asset path \"{0}\" is there twice: leave one out")]
    Duplicate(String),
    /// Not 32 lower-case hexadecimal digits.
    #[error("\"{0}\" is not an asset's hash: write 32 hexadecimal digits, letters in lower case")]
    Hash(String),
    /// A file larger than [`MAX_FILE_SIZE`].
    #[error(
        "the asset {path} has {size} bytes, and {MAX_FILE_SIZE} (25 MiB) are the most: keep it in a bucket, or leave it out with .assetsignore"
    )]
    Size {
        /// The file's path.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// More than [`MAX_FILES`].
    #[error("there are more than {MAX_FILES} assets: leave some out with .assetsignore")]
    Count,
    /// A content type that no header can hold.
    #[error(
        "\"{content_type}\", the content type of {path}, cannot be a header's value: write it as in text/html; charset=utf-8"
    )]
    ContentType {
        /// The file's path.
        path: String,
        /// What was written.
        content_type: String,
    },
}

/// The beginning of a text from outside, for a message.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 100;
    if text.chars().nth(SHOWN).is_none() {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// Checks a path of a manifest.
fn check_path(path: &str) -> Result<(), ManifestError> {
    let Some(relative) = path.strip_prefix('/') else { return Err(ManifestError::Relative(shorten(path))) };
    if path.len() > MAX_PATH {
        return Err(ManifestError::Long(shorten(path)));
    }
    if path.chars().any(|char| char == '\\' || char.is_control()) {
        return Err(ManifestError::Character(shorten(path).escape_debug().to_string()));
    }
    if relative.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(ManifestError::Segment(shorten(path)));
    }
    Ok(())
}

/// Collects the files of a [`Manifest`], and checks each.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    files: Vec<(Box<str>, Record)>,
    content_types: Vec<HeaderValue>,
    /// The place of each content type in the list.
    known_types: HashMap<String, u16>,
}

impl ManifestBuilder {
    /// Adds a file.
    ///
    /// # Errors
    /// The path cannot be one, the file is too large, or there are too many.
    pub fn add(&mut self, path: &str, file: &File) -> Result<(), ManifestError> {
        check_path(path)?;
        let size = u32::try_from(file.size).ok().filter(|_| file.size <= MAX_FILE_SIZE);
        let Some(size) = size else { return Err(ManifestError::Size { path: shorten(path), size: file.size }) };
        if self.files.len() >= MAX_FILES {
            return Err(ManifestError::Count);
        }
        let content_type = match &file.content_type {
            Some(content_type) => self.content_type(path, content_type)?,
            None => NO_CONTENT_TYPE,
        };
        let record = Record { path_end: 0, size, hash: file.hash, variants: file.variants, content_type };
        self.files.push((path.into(), record));
        Ok(())
    }

    fn content_type(&mut self, path: &str, content_type: &str) -> Result<u16, ManifestError> {
        if let Some(place) = self.known_types.get(content_type) {
            return Ok(*place);
        }
        let wrong = || ManifestError::ContentType { path: shorten(path), content_type: shorten(content_type) };
        let value = HeaderValue::from_str(content_type).map_err(|_| wrong())?;
        let place = u16::try_from(self.content_types.len()).ok().filter(|place| *place != NO_CONTENT_TYPE);
        let place = place.ok_or_else(wrong)?;
        self.content_types.push(value);
        self.known_types.insert(content_type.to_owned(), place);
        Ok(place)
    }

    /// The manifest.
    ///
    /// # Errors
    /// A path is there twice.
    pub fn build(mut self) -> Result<Manifest, ManifestError> {
        self.files.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        if let Some(twice) = self.files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ManifestError::Duplicate(shorten(&twice[0].0)));
        }
        let mut paths = String::with_capacity(self.files.iter().map(|(path, _)| path.len()).sum());
        let mut records = Vec::with_capacity(self.files.len());
        for (path, record) in self.files {
            paths.push_str(&path);
            // 100,000 paths of 2,048 bytes each are less than 4 GiB
            records.push(Record { path_end: paths.len() as u32, ..record });
        }
        Ok(Manifest {
            paths: paths.into_boxed_str(),
            records: records.into_boxed_slice(),
            content_types: self.content_types.into_boxed_slice(),
        })
    }
}

/// The place of a content type that is not known.
const NO_CONTENT_TYPE: u16 = u16::MAX;

/// What is kept of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// Where its path ends in the text of all paths.
    path_end: u32,
    size: u32,
    hash: AssetHash,
    variants: Variants,
    content_type: u16,
}

/// The files of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    paths: Box<str>,
    records: Box<[Record]>,
    content_types: Box<[HeaderValue]>,
}

/// A file of a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Asset<'a> {
    manifest: &'a Manifest,
    place: usize,
}

impl<'a> Asset<'a> {
    fn record(self) -> &'a Record {
        &self.manifest.records[self.place]
    }

    /// Its path.
    pub fn path(self) -> &'a str {
        self.manifest.path(self.place)
    }

    /// What identifies its content.
    pub fn hash(self) -> AssetHash {
        self.record().hash
    }

    /// Its size in bytes.
    pub fn size(self) -> u64 {
        u64::from(self.record().size)
    }

    /// Its compressed variants.
    pub fn variants(self) -> Variants {
        self.record().variants
    }

    /// Its content type, if it is known.
    pub fn content_type(self) -> Option<&'a HeaderValue> {
        self.manifest.content_types.get(usize::from(self.record().content_type))
    }

    /// The same as it is written in a manifest.
    pub fn file(self) -> File {
        let content_type = self.content_type().and_then(|value| value.to_str().ok()).map(str::to_owned);
        File { hash: self.hash(), size: self.size(), content_type, variants: self.variants() }
    }
}

impl Manifest {
    /// The file at a path, which is decoded: `/a b.html`, not `/a%20b.html`.
    pub fn get(&self, path: &str) -> Option<Asset<'_>> {
        self.find(path, "")
    }

    /// The file at the path that begins with `head` and ends with `tail`.
    pub(crate) fn find(&self, head: &str, tail: &str) -> Option<Asset<'_>> {
        let (mut low, mut high) = (0, self.records.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(self.path(middle).as_bytes(), head.as_bytes(), tail.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(Asset { manifest: self, place: middle }),
            }
        }
        None
    }

    fn path(&self, place: usize) -> &str {
        let end = |place: usize| self.records[place].path_end as usize;
        &self.paths[place.checked_sub(1).map_or(0, end)..end(place)]
    }

    /// Every file, in the order of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Asset<'_>> {
        (0..self.records.len()).map(|place| Asset { manifest: self, place })
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes it takes in memory.
    pub fn memory(&self) -> usize {
        let types = self.content_types.iter().map(|value| value.len() + size_of::<HeaderValue>()).sum::<usize>();
        self.paths.len() + size_of_val(&*self.records) + types
    }
}

/// Compares a path with one in two parts.
fn compare(path: &[u8], head: &[u8], tail: &[u8]) -> Ordering {
    let (start, rest) = path.split_at(path.len().min(head.len()));
    start.cmp(head).then_with(|| rest.cmp(tail))
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for asset in self.iter() {
            map.serialize_entry(asset.path(), &asset.file())?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ManifestVisitor)
    }
}

struct ManifestVisitor;

impl<'de> Visitor<'de> for ManifestVisitor {
    type Value = Manifest;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of paths, each with \"hash\" and \"size\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
        let mut builder = ManifestBuilder::default();
        while let Some((path, file)) = map.next_entry::<String, File>()? {
            builder.add(&path, &file).map_err(A::Error::custom)?;
        }
        builder.build().map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Manifest, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let text = r#"{"/a.css":{"hash":"00112233445566778899aabbccddeeff","size":3,"content_type":"text/css","variants":{"br":2}},"/b":{"hash":"ffffffffffffffffffffffffffffffff","size":0}}"#;
        let manifest = parse(text).unwrap();
        assert_eq!(serde_json::to_string(&manifest).unwrap(), text);
        let asset = manifest.get("/a.css").unwrap();
        assert_eq!((asset.size(), asset.variants().size(Encoding::Brotli)), (3, Some(2)));
        assert_eq!(asset.variants().size(Encoding::Gzip), None);
        assert!(manifest.get("/b").unwrap().content_type().is_none());
        assert!(manifest.get("/").is_none());
    }

    #[test]
    fn a_path_in_two_parts_is_found() {
        let mut builder = ManifestBuilder::default();
        let file = File { hash: AssetHash::of(b"x", ""), size: 1, content_type: None, variants: Variants::default() };
        let paths: Vec<String> =
            (0..500).flat_map(|number| [format!("/{number}.html"), format!("/{number}")]).collect();
        paths.iter().for_each(|path| builder.add(path, &file).unwrap());
        let manifest = builder.build().unwrap();
        for path in &paths {
            for split in 0..=path.len() {
                let (head, tail) = path.split_at(split);
                assert_eq!(manifest.find(head, tail).map(Asset::path), Some(path.as_str()));
            }
        }
        assert!(manifest.find("/500", ".html").is_none());
        assert!(manifest.memory() < 1_000 * 50, "{}", manifest.memory());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let hash = "00112233445566778899aabbccddeeff";
        let check = |path: &str, expect: ManifestError| {
            let json = serde_json::json!({ path: { "hash": hash, "size": 1 } }).to_string();
            let error = parse(&json).unwrap_err();
            assert!(error.starts_with(&expect.to_string()), "{path}: {error}");
        };
        check("index.html", ManifestError::Relative("index.html".to_owned()));
        check("", ManifestError::Relative(String::new()));
        for path in ["/", "/a/../b", "/./b", "/..", "/a//b", "/a/"] {
            check(path, ManifestError::Segment(path.to_owned()));
        }
        check("/a\\b", ManifestError::Character("/a\\\\b".to_owned()));
        check("/a\0", ManifestError::Character("/a\\0".to_owned()));
        check("/a\nb", ManifestError::Character("/a\\nb".to_owned()));
        let long = format!("/{}", "x".repeat(MAX_PATH));
        check(&long, ManifestError::Long(shorten(&long)));

        let error = |json: &str| parse(json).unwrap_err();
        let hashes = [
            "",
            "0011",
            "00112233445566778899AABBCCDDEEFF",
            "00112233445566778899aabbccddeef",
            "zz112233445566778899aabbccddeeff",
        ];
        for hash in hashes {
            assert!(
                error(&format!(r#"{{"/a":{{"hash":"{hash}","size":1}}}}"#)).contains("is not an asset's hash"),
                "{hash}"
            );
        }
        assert!(error(&format!(r#"{{"/a":{{"hash":"{hash}","size":26214401}}}}"#)).contains("25 MiB"));
        let twice = format!(r#"{{"/a":{{"hash":"{hash}","size":1}},"/a":{{"hash":"{hash}","size":1}}}}"#);
        assert!(error(&twice).contains("is there twice"));
        let bad_type = format!(r#"{{"/a":{{"hash":"{hash}","size":1,"content_type":"a\nb"}}}}"#);
        assert!(error(&bad_type).contains("cannot be a header's value"));
    }

    #[test]
    fn there_is_a_most() {
        let mut builder = ManifestBuilder::default();
        let file = File {
            hash: AssetHash::of(b"x", ""),
            size: MAX_FILE_SIZE,
            content_type: None,
            variants: Variants::default(),
        };
        for number in 0..MAX_FILES {
            builder.add(&format!("/{number}"), &file).unwrap();
        }
        assert_eq!(builder.add("/one-more", &file), Err(ManifestError::Count));
        assert_eq!(builder.build().unwrap().len(), MAX_FILES);
    }
}
