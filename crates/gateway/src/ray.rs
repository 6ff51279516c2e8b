//! A name for each request, which its answer, its log and its error page have in common.
//! <https://developers.cloudflare.com/fundamentals/reference/cloudflare-ray-id/>

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// The header that carries it, of requests as Workers get them and of answers.
pub(crate) const CF_RAY: HeaderName = HeaderName::from_static("cf-ray");
/// What comes behind the number: where Cloudflare has the name of a data centre.
const PLACE: &[u8; 4] = b"-SKP";
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A name that no other request has: 16 hexadecimal digits and a place.
pub(crate) fn new() -> HeaderValue {
    let mut text = [0; 20];
    let mut number = next();
    for digit in text[..16].iter_mut().rev() {
        *digit = DIGITS[(number & 15) as usize];
        number >>= 4;
    }
    text[16..].copy_from_slice(PLACE);
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// The next number of this thread: SplitMix64 from a random beginning. Steele, Lea and Flood 2014.
fn next() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// The standard library's own source of randomness.
fn seed() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn each_is_another() {
        let thread = || (0..10_000).map(|_| super::new()).collect::<Vec<_>>();
        let (one, other) = (std::thread::spawn(thread), std::thread::spawn(thread));
        let all = [one.join().expect("run"), other.join().expect("run")].concat();
        let is_ray = |text: &str| {
            let (number, place) = text.split_once('-').expect("a place");
            number.len() == 16 && u64::from_str_radix(number, 16).is_ok() && place == "SKP"
        };
        assert!(all.iter().all(|ray| is_ray(ray.to_str().expect("text"))));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }
}
