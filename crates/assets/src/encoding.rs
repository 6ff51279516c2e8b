//! Content codings: which of a file's variants a request gets. RFC 9110, section 12.5.3.

use serde::{Deserialize, Serialize};

use crate::manifest::Variants;

/// How a stored content is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// As it is.
    #[serde(rename = "identity")]
    Identity,
    /// Brotli, RFC 7932.
    #[serde(rename = "br")]
    Brotli,
    /// Zstandard, RFC 8878.
    #[serde(rename = "zstd")]
    Zstd,
    /// gzip, RFC 1952.
    #[serde(rename = "gzip")]
    Gzip,
}

impl Encoding {
    /// Every coding that compresses, the preferred first.
    pub const COMPRESSED: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// Chooses among the variants that there are: what `Accept-Encoding` weighs most; of equals, the one that compresses best.
    /// A request that refuses everything there is gets the content as it is, as RFC 9110 allows.
    pub(crate) fn negotiate(accept: &str, variants: Variants) -> Self {
        let (mut chosen, mut most) = (Self::Identity, 0);
        for encoding in Self::COMPRESSED {
            let weight = encoding.weight(accept);
            if weight > most && variants.size(encoding).is_some() {
                (chosen, most) = (encoding, weight);
            }
        }
        let weighs_more = Self::Identity.explicit_weight(accept).is_some_and(|weight| weight > most);
        if weighs_more { Self::Identity } else { chosen }
    }

    /// The weight in thousandths; 0 is a refusal.
    fn weight(self, accept: &str) -> u16 {
        self.explicit_weight(accept).or_else(|| weight_of(accept, |name| name == "*")).unwrap_or(0)
    }

    fn explicit_weight(self, accept: &str) -> Option<u16> {
        let is_alias = |name: &str| self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
        weight_of(accept, |name| name.eq_ignore_ascii_case(self.name()) || is_alias(name))
    }
}

/// The weight of the first coding that is meant.
fn weight_of(accept: &str, is_meant: impl Fn(&str) -> bool) -> Option<u16> {
    accept.split(',').find_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        if !parts.next().is_some_and(&is_meant) {
            return None;
        }
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some(quality.map_or(1_000, thousandths))
    })
}

/// `0.25` as 250. What is not a weight counts as a refusal.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let fraction = fraction.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, fraction) {
        ("0", fraction) => fraction,
        ("1", 0) => 1_000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, Variants};

    #[test]
    fn the_best_that_is_accepted() {
        let mut all = Variants::default();
        Encoding::COMPRESSED.into_iter().for_each(|encoding| all.add(encoding, 1));
        let mut gzip = Variants::default();
        gzip.add(Encoding::Gzip, 1);
        let check = |accept: &str, variants: Variants, expect: Encoding| {
            assert_eq!(Encoding::negotiate(accept, variants), expect, "{accept}");
        };
        check("gzip, deflate, br, zstd", all, Encoding::Brotli);
        check("gzip, deflate, br, zstd", gzip, Encoding::Gzip);
        check("gzip, deflate", all, Encoding::Gzip);
        check("GZIP", all, Encoding::Gzip);
        check("x-gzip", all, Encoding::Gzip);
        check("zstd, gzip", all, Encoding::Zstd);
        check("br;q=0.5, gzip;q=0.8, zstd;q=0.1", all, Encoding::Gzip);
        check("br; q=0, gzip;q=0.001", all, Encoding::Gzip);
        check("br;q=0", all, Encoding::Identity);
        check("*", all, Encoding::Brotli);
        check("*;q=0", all, Encoding::Identity);
        check("br;q=0, *", all, Encoding::Zstd);
        check("identity, br;q=0.5", all, Encoding::Identity);
        check("identity;q=0.5, br", all, Encoding::Brotli);
        check("identity;q=0, gzip", Variants::default(), Encoding::Identity);
        check("", all, Encoding::Identity);
        check("br;q=2, gzip;q=nonsense, zstd;q=0.1234", all, Encoding::Identity);
        check("br;q=1.0", all, Encoding::Brotli);
        check("brotli, ,;;,=", all, Encoding::Identity);
    }
}
