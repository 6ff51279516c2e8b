//! Makes a machine ready to build: the V8 library, for machines that cannot reach where its build script downloads it.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Outcome;

/// The version of crate `v8` that the library fits.
const V8: &str = "150.4.0";
/// The library's name in the releases of crate `v8`.
const LIBRARY: &str = "librusty_v8_simdutf_release_x86_64-unknown-linux-gnu.a";

/// Puts the V8 library where the build script of crate `v8` looks first.
pub(crate) fn run() -> Outcome {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("V8: the build script of crate v8 downloads its library for this target");
        return Ok(());
    }
    let folder = crate::root().join("third_party/v8");
    let sums = fs::read_to_string(folder.join("SHA256SUMS"))?;
    let destination = destination()?;
    if is_whole(&destination, sum_of(&sums, LIBRARY)?)? {
        println!("V8: the library is in place");
        return Ok(());
    }
    let archive = folder.join(format!("{LIBRARY}.xz"));
    check(&archive, sum_of(&sums, &format!("{LIBRARY}.xz"))?)?;
    println!("V8: unpacking the library of crate v8 {V8}");
    unpack(&archive, &destination, sum_of(&sums, LIBRARY)?)
}

/// `$CARGO_HOME/.rusty_v8/`, and the URL of the release with every character that is not a letter or a digit replaced.
fn destination() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let url = format!("https://github.com/denoland/rusty_v8/releases/download/v{V8}/{LIBRARY}.gz");
    let name: String =
        url.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect();
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .ok_or("neither CARGO_HOME nor HOME is set: set one of them, so that the V8 library has a place")?;
    Ok(home.join(".rusty_v8").join(name))
}

fn sum_of<'a>(sums: &'a str, name: &str) -> Result<&'a str, String> {
    sums.lines()
        .find_map(|line| line.split_once("  ").filter(|(_, file)| *file == name).map(|(sum, _)| sum))
        .ok_or_else(|| format!("third_party/v8/SHA256SUMS has no line for {name}: restore it from version control"))
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", digest.finalize())),
            length => digest.update(&buffer[..length]),
        }
    }
}

/// Whether the library is there. A marker beside it saves the second that its checksum takes.
fn is_whole(library: &Path, sum: &str) -> io::Result<bool> {
    if !library.exists() {
        return Ok(false);
    }
    let marker = library.with_extension("sha256");
    if fs::read_to_string(&marker).is_ok_and(|marked| marked == sum) {
        return Ok(true);
    }
    let whole = sha256(library)? == sum;
    if whole {
        fs::write(marker, sum)?;
    }
    Ok(whole)
}

fn check(archive: &Path, sum: &str) -> Outcome {
    let found = sha256(archive).map_err(|error| format!("{}: {error}", archive.display()))?;
    if found == sum {
        return Ok(());
    }
    Err(format!("{} is damaged (its checksum is {found}): restore it from version control", archive.display()).into())
}

/// Unpacks to a file beside the destination and moves it there when it is whole, so that nobody links half of it.
fn unpack(archive: &Path, destination: &Path, sum: &str) -> Outcome {
    let folder = destination.parent().ok_or("the V8 library has no folder")?;
    fs::create_dir_all(folder)?;
    let part = folder.join(format!("{LIBRARY}.{}.part", std::process::id()));
    let result = write_unpacked(archive, &part)
        .and_then(|()| check(&part, sum))
        .and_then(|()| Ok(fs::rename(&part, destination)?));
    if result.is_err() {
        // Nothing may be there if it failed early.
        let _ = fs::remove_file(&part);
    }
    result?;
    fs::write(destination.with_extension("sha256"), sum)?;
    Ok(())
}

fn write_unpacked(archive: &Path, part: &Path) -> Outcome {
    let mut packed = lzma_rust2::XzReader::new(BufReader::new(File::open(archive)?), false);
    let mut unpacked = BufWriter::with_capacity(1 << 20, File::create(part)?);
    io::copy(&mut packed, &mut unpacked)?;
    unpacked.flush()?;
    Ok(())
}
