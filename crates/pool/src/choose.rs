//! Which version of a deployment answers a request.
//! <https://developers.cloudflare.com/workers/configuration/versions-and-deployments/gradual-deployments/>

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use http::HeaderMap;
use skep_store::Share;
use uuid::Uuid;

/// Requests with the same value get the same version.
const VERSION_KEY: &str = "cloudflare-workers-version-key";
/// Asks for one version of the deployment: a dictionary (RFC 8941, section 3.2) of Workers and versions.
const VERSION_OVERRIDES: &str = "cloudflare-workers-version-overrides";
/// Steps of a percentage: Cloudflare's have two decimals.
const STEPS: u64 = 10_000;

/// What decides.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'r> {
    /// The Worker's name.
    pub worker: &'r str,
    /// The request's headers.
    pub headers: &'r HeaderMap,
    /// The client's address: without a key, a client stays with its version.
    pub client: Option<&'r [u8]>,
}

/// The version that answers. The same key and the same percentages give the same version, also after a restart; a version
/// whose percentage grows keeps the clients it has.
pub fn choose(deployment: &[Share], choice: Choice<'_>) -> Option<Uuid> {
    if let [only] = deployment {
        return Some(only.version_id);
    }
    if let Some(version) = wanted(deployment, choice) {
        return Some(version);
    }
    let place = match (choice.headers.get(VERSION_KEY), choice.client) {
        (Some(key), _) => stable(key.as_bytes()),
        (None, Some(client)) => stable(client),
        (None, None) => {
            static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);
            RANDOM.hash_one(std::time::Instant::now())
        }
    } % STEPS;
    // In the order of their ids, so that the order in which they were named does not matter.
    let mut shares = deployment.to_vec();
    shares.sort_by_key(|share| share.version_id);
    let mut end = 0.0;
    for share in &shares {
        end += share.percentage / 100.0 * STEPS as f64;
        if (place as f64) < end {
            return Some(share.version_id);
        }
    }
    shares.last().map(|share| share.version_id)
}

/// The version that the request asks for, if it is one of the deployment.
fn wanted(deployment: &[Share], choice: Choice<'_>) -> Option<Uuid> {
    let overrides = choice.headers.get(VERSION_OVERRIDES)?.to_str().ok()?;
    let version = overrides.split(',').find_map(|pair| {
        let (worker, version) = pair.split_once('=')?;
        (worker.trim() == choice.worker).then(|| version.trim().trim_matches('"'))
    })?;
    let version = Uuid::parse_str(version).ok()?;
    deployment.iter().any(|share| share.version_id == version).then_some(version)
}

/// FNV-1a, 64 bits, and a final mix: the same on every machine and in every version of Skep.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn stable(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::{Choice, VERSION_KEY, VERSION_OVERRIDES, choose};
    use http::{HeaderMap, HeaderValue};
    use skep_store::Share;
    use uuid::Uuid;

    fn deployment(percentages: &[f64]) -> Vec<Share> {
        (1_u128..)
            .zip(percentages)
            .map(|(id, percentage)| Share { version_id: Uuid::from_u128(id), percentage: *percentage })
            .collect()
    }

    fn with_key(deployment: &[Share], key: usize) -> Uuid {
        let headers = HeaderMap::from_iter([(
            VERSION_KEY.parse().expect("a name"),
            HeaderValue::from_str(&format!("client {key}")).expect("a value"),
        )]);
        choose(deployment, Choice { worker: "w", headers: &headers, client: None }).expect("a version")
    }

    #[test]
    fn a_key_stays_with_its_version_and_the_shares_are_kept() {
        let shares = deployment(&[10.0, 90.0]);
        let first = (0..10_000).filter(|key| with_key(&shares, *key) == Uuid::from_u128(1)).count();
        assert!((900..1_100).contains(&first), "{first} of 10,000 for 10 %");
        assert!((0..100).all(|key| with_key(&shares, key) == with_key(&shares, key)));
        let reversed: Vec<Share> = shares.iter().rev().copied().collect();
        assert!((0..100).all(|key| with_key(&shares, key) == with_key(&reversed, key)));
        // Who had the first version keeps it when its share grows.
        let more = deployment(&[50.0, 50.0]);
        let kept = (0..1_000).filter(|key| with_key(&shares, *key) == Uuid::from_u128(1));
        assert!(kept.into_iter().all(|key| with_key(&more, key) == Uuid::from_u128(1)));
    }

    #[test]
    fn a_request_may_ask_for_a_version_of_the_deployment() {
        let shares = deployment(&[100.0, 0.0]);
        let ask = |value: String| {
            let headers = HeaderMap::from_iter([(
                VERSION_OVERRIDES.parse().expect("a name"),
                HeaderValue::from_str(&value).expect("a value"),
            )]);
            choose(&shares, Choice { worker: "w", headers: &headers, client: None })
        };
        let (first, second) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        assert_eq!(ask(format!("w=\"{}\"", Uuid::from_u128(2))), second);
        assert_eq!(ask(format!("other=\"{}\"", Uuid::from_u128(2))), first);
        assert_eq!(ask(format!("w=\"{}\"", Uuid::from_u128(3))), first);
        assert_eq!(choose(&[], Choice { worker: "w", headers: &HeaderMap::new(), client: None }), None);
    }
}
