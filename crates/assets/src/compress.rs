//! Compressed variants of a file, made once when it is uploaded.

use std::io::{self, Write as _};

use bytes::Bytes;

use crate::Encoding;

/// The smallest content in bytes that is worth it: smaller ones fit one packet as they are.
const SMALLEST: usize = 1_024;
/// The share of its size that a variant must save, in percent.
const LEAST_SAVED: usize = 10;

/// Whether contents of a type get smaller. Pictures, films and fonts are compressed already.
/// <https://developers.cloudflare.com/speed/optimization/content/compression/>
pub fn is_compressible(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (top, sub) = kind.split_once('/').unwrap_or((&kind, ""));
    let is_text = sub.ends_with("+json") || sub.ends_with("+xml") || sub.ends_with("+text");
    let application = [
        "javascript",
        "x-javascript",
        "ecmascript",
        "json",
        "json5",
        "ld+json",
        "manifest+json",
        "xml",
        "wasm",
        "node",
        "rtf",
        "x-httpd-php",
        "yaml",
        "toml",
        "graphql",
        "vnd.ms-fontobject",
        "x-sh",
        "sql",
        "pdf+text",
    ];
    match top {
        "text" => true,
        "application" => is_text || application.contains(&sub),
        "image" => matches!(sub, "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon"),
        "font" => matches!(sub, "ttf" | "otf" | "sfnt" | "collection"),
        "model" => is_text || sub == "obj",
        _ => false,
    }
}

/// The variants of a content that are at least 10 % smaller, the smallest levels for the smallest contents. Takes from a
/// millisecond to some seconds of CPU time: call it where that blocks nobody.
///
/// # Errors
/// An encoder fails, which none does with a content in memory.
pub fn variants(content: &[u8], content_type: Option<&str>) -> io::Result<Vec<(Encoding, Bytes)>> {
    if content.len() < SMALLEST || !content_type.is_some_and(is_compressible) {
        return Ok(Vec::new());
    }
    let mut variants = Vec::new();
    for encoding in Encoding::COMPRESSED {
        let compressed = compress(content, encoding)?;
        if compressed.len() <= content.len() / 100 * (100 - LEAST_SAVED) {
            variants.push((encoding, compressed.into()));
        }
    }
    Ok(variants)
}

fn compress(content: &[u8], encoding: Encoding) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Identity => Ok(content.to_vec()),
        Encoding::Brotli => {
            // 11 takes about 2 s for a MiB, 9 a tenth of it
            let quality = match content.len() {
                ..=131_072 => 11,
                131_073..=4_194_304 => 9,
                _ => 5,
            };
            let parameters =
                brotli::enc::BrotliEncoderParams { quality, size_hint: content.len(), ..Default::default() };
            let mut compressed = Vec::new();
            brotli::BrotliCompress(&mut &*content, &mut compressed, &parameters)?;
            Ok(compressed)
        }
        Encoding::Zstd => zstd::bulk::compress(content, if content.len() <= 1_048_576 { 19 } else { 9 }),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(content)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{is_compressible, variants};
    use crate::Encoding;

    #[test]
    fn texts_are_compressible() {
        for yes in [
            "text/html; charset=utf-8",
            "text/css",
            "text/javascript",
            "application/javascript",
            "application/json",
            "application/ld+json",
            "image/svg+xml",
            "application/wasm",
            "font/ttf",
            "Text/Plain",
            "application/rss+xml",
        ] {
            assert!(is_compressible(yes), "{yes}");
        }
        for no in [
            "image/png",
            "image/jpeg",
            "video/mp4",
            "font/woff2",
            "application/zip",
            "application/pdf",
            "",
            "application/octet-stream",
        ] {
            assert!(!is_compressible(no), "{no}");
        }
    }

    #[test]
    fn variants_hold_the_content() {
        let content = "All work and no play makes a dull page. ".repeat(2_000);
        let made = variants(content.as_bytes(), Some("text/html")).unwrap();
        assert_eq!(made.iter().map(|(encoding, _)| *encoding).collect::<Vec<_>>(), Encoding::COMPRESSED);
        for (encoding, compressed) in &made {
            assert!(compressed.len() * 10 < content.len(), "{encoding:?}");
            let mut text = String::new();
            match encoding {
                Encoding::Brotli => brotli::Decompressor::new(&**compressed, 4_096).read_to_string(&mut text).unwrap(),
                Encoding::Gzip => flate2::read::GzDecoder::new(&**compressed).read_to_string(&mut text).unwrap(),
                _ => zstd::Decoder::new(&**compressed).unwrap().read_to_string(&mut text).unwrap(),
            };
            assert_eq!(text, content, "{encoding:?}");
        }
    }

    #[test]
    fn what_does_not_get_smaller_has_none() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(20_000)
        .collect();
        assert!(variants(&noise, Some("text/plain")).unwrap().is_empty());
        let text = "a".repeat(20_000);
        assert!(variants(text.as_bytes(), Some("image/png")).unwrap().is_empty());
        assert!(variants(text.as_bytes(), None).unwrap().is_empty());
        assert!(variants(b"short", Some("text/html")).unwrap().is_empty());
    }
}
