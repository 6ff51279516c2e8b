//! Puts the files of `dashboard/dist` into the program: as they are, and compressed as well as it goes, which takes long and is done once.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Digits of a file's hash in its `ETag`.
const DIGITS: usize = 16;

fn main() -> io::Result<()> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let built = here.join("../../dashboard/dist");
    println!("cargo::rerun-if-changed={}", built.display());
    let mut files = Vec::new();
    find(&built, "", &mut files)
        .map_err(|error| io::Error::other(format!("{}: {error}: run `cargo xtask dashboard`", built.display())))?;
    files.sort();
    let mut table = String::from("&[\n");
    for (number, name) in files.iter().enumerate() {
        let path = built.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let content = fs::read(&path)?;
        let (plain, brotli, gzip) = (format!("{number}.plain"), format!("{number}.brotli"), format!("{number}.gzip"));
        fs::write(out.join(&brotli), compressed_brotli(&content)?)?;
        fs::write(out.join(&gzip), compressed_gzip(&content)?)?;
        fs::write(out.join(&plain), &content)?;
        let hash = blake3::hash(&content).to_hex();
        let include = |name: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))");
        let (plain, brotli, gzip) = (include(&plain), include(&brotli), include(&gzip));
        let (hash, kind) = (&hash.as_str()[..DIGITS], kind(name)?);
        let entry = format!(
            "    File {{ path: \"{name}\", kind: \"{kind}\", hash: \"{hash}\", plain: {plain}, brotli: {brotli}, gzip: {gzip} }},"
        );
        writeln!(table, "{entry}").map_err(io::Error::other)?;
    }
    table.push(']');
    fs::write(out.join("files.rs"), table)
}

/// The files of a folder and of those in it, by their names from the first one on.
fn find(folder: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidFilename)?;
        let name = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            find(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}

fn kind(name: &str) -> io::Result<&'static str> {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => Ok("text/html; charset=utf-8"),
        "js" => Ok("text/javascript; charset=utf-8"),
        "css" => Ok("text/css; charset=utf-8"),
        "svg" => Ok("image/svg+xml"),
        _ => {
            Err(io::Error::other(format!("{name}: nobody knows its content type: add it to crates/dashboard/build.rs")))
        }
    }
}

fn compressed_brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    brotli::CompressorWriter::new(&mut compressed, 4096, 11, 22).write_all(content)?;
    Ok(compressed)
}

fn compressed_gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}
