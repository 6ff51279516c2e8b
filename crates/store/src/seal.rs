//! Secrets at rest: AES-256-GCM (NIST SP 800-38D) under a master key that is not in the database.
//!
//! Each sealed text has a random nonce, names the key it was sealed under, and is bound to its place (the Worker and the
//! binding's name): moved elsewhere it does not open.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use skep_worker::Secret;

use crate::{StoreError, StoreResult};

/// The length of a master key in bytes.
const KEY_BYTES: usize = 32;
/// Hexadecimal digits of a key's name.
const NAME_DIGITS: usize = 8;

/// Why a text is no master key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master key is not 32 bytes in base64: make one with `head -c 32 /dev/urandom | base64`")]
pub struct KeyError;

/// The key that secrets are sealed under, and those before it, under which some may still be.
pub struct MasterKeys {
    /// The current one first.
    keys: Vec<Arc<Key>>,
}

struct Key {
    name: String,
    key: RandomizedNonceKey,
    /// For [`MasterKeys::derive`].
    derive: hmac::Key,
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|key| &key.name)).finish()
    }
}

impl MasterKeys {
    /// Reads keys in base64, the current one first.
    ///
    /// # Errors
    /// When there is none, or one is not 32 bytes.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, KeyError> {
        let key = |text| Key::parse(text).map(Arc::new);
        let keys: Vec<Arc<Key>> = texts.into_iter().map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError) } else { Ok(Self { keys }) }
    }

    /// A new key, in base64.
    pub fn generate() -> Secret {
        let mut bytes = [0; KEY_BYTES];
        // It fails only where the system has no random numbers, and then nothing works.
        aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
        Secret::new(STANDARD.encode(bytes))
    }

    /// The name of the current key, which the texts begin with that are sealed under it: 8 hexadecimal digits that tell
    /// nothing of the key.
    pub fn name(&self) -> &str {
        self.keys.first().map_or("", |key| &key.name)
    }

    /// Whether there is a key of that name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    /// These keys behind a new one, which is the current one from then on.
    pub(crate) fn behind(&self, new: &Secret) -> Result<Self, KeyError> {
        let new = Arc::new(Key::parse(new.reveal())?);
        let former = self.keys.iter().filter(|key| key.name != new.name).map(Arc::clone);
        let keys = std::iter::once(Arc::clone(&new)).chain(former).collect();
        Ok(Self { keys })
    }

    /// Keys for another purpose, such as signing: the first is the current master key's, the others are those of the keys
    /// before it, so that what was signed under them still counts.
    pub fn derive(&self, purpose: &str) -> Vec<[u8; KEY_BYTES]> {
        let derive = |key: &Arc<Key>| {
            let mut derived = [0; KEY_BYTES];
            derived.copy_from_slice(hmac::sign(&key.derive, purpose.as_bytes()).as_ref());
            derived
        };
        self.keys.iter().map(derive).collect()
    }

    /// Seals a text for one place.
    pub(crate) fn seal(&self, place: &str, secret: &Secret) -> StoreResult<String> {
        let key = self.keys.first().ok_or(StoreError::Sealed)?;
        let mut text = secret.reveal().as_bytes().to_vec();
        let nonce = key.key.seal_in_place_append_tag(Aad::from(place), &mut text).map_err(|_| StoreError::Sealed)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.extend(text);
        Ok(format!("{}:{}", key.name, STANDARD.encode(whole)))
    }

    /// Opens what was sealed for a place.
    pub(crate) fn open(&self, place: &str, sealed: &str) -> StoreResult<Secret> {
        let open = || {
            let (name, whole) = sealed.split_once(':')?;
            let key = self.keys.iter().find(|key| key.name == name)?;
            let whole = STANDARD.decode(whole).ok()?;
            let (nonce, text) = whole.split_at_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = text.to_vec();
            let plain = key.key.open_in_place(nonce, Aad::from(place), &mut text).ok()?;
            Some(Secret::new(std::str::from_utf8(plain).ok()?))
        };
        open().ok_or(StoreError::Sealed)
    }

    /// Whether a text is sealed under the current key.
    pub(crate) fn is_current(&self, sealed: &str) -> bool {
        key_of(sealed) == self.name()
    }
}

/// The name of the key that a text is sealed under. Empty if it is not sealed.
pub(crate) fn key_of(sealed: &str) -> &str {
    sealed.split_once(':').map_or("", |(name, _)| name)
}

impl Key {
    fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| KeyError)?;
        if bytes.len() != KEY_BYTES {
            return Err(KeyError);
        }
        let name = key_name(&bytes);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyError)?;
        Ok(Self { name, key, derive: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }
}

/// What a key is called in a sealed text: tells nothing of the key.
fn key_name(key: &[u8]) -> String {
    let hash = digest(&SHA256, &[b"skep master key ".as_slice(), key].concat());
    hash.as_ref().iter().take(NAME_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{KeyError, MasterKeys};
    use skep_worker::Secret;

    #[test]
    fn what_was_sealed_opens_in_its_place_only() {
        let key = MasterKeys::generate();
        let keys = MasterKeys::parse([key.reveal()]).expect("a key");
        let sealed = keys.seal("worker/TOKEN", &Secret::new("hunter2")).expect("sealed");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(keys.open("worker/TOKEN", &sealed).expect("opened").reveal(), "hunter2");
        assert!(keys.open("other/TOKEN", &sealed).is_err());
        assert_ne!(sealed, keys.seal("worker/TOKEN", &Secret::new("hunter2")).expect("sealed"));
    }

    #[test]
    fn an_older_key_still_opens() {
        let (older, newer) = (MasterKeys::generate(), MasterKeys::generate());
        let sealed = MasterKeys::parse([older.reveal()]).expect("a key").seal("p", &Secret::new("s")).expect("sealed");
        let both = MasterKeys::parse([newer.reveal(), older.reveal()]).expect("keys");
        assert_eq!(both.open("p", &sealed).expect("opened").reveal(), "s");
        assert!(!both.is_current(&sealed));
        assert!(MasterKeys::parse([newer.reveal()]).expect("a key").open("p", &sealed).is_err());
    }

    #[test]
    fn a_new_key_is_the_current_one_and_those_before_it_stay() {
        let (older, newer) = (MasterKeys::generate(), MasterKeys::generate());
        let before = MasterKeys::parse([older.reveal()]).expect("a key");
        let sealed = before.seal("p", &Secret::new("s")).expect("sealed");
        let after = before.behind(&newer).expect("keys");
        assert_eq!(after.name(), MasterKeys::parse([newer.reveal()]).expect("a key").name());
        assert!(after.knows(before.name()) && !before.knows(after.name()));
        assert_eq!(after.open("p", &sealed).expect("opened").reveal(), "s");
        assert!(after.is_current(&after.seal("p", &Secret::new("s")).expect("sealed")));
        let derived = after.derive("signing");
        assert_eq!(derived[1..], before.derive("signing"));
        assert_ne!(derived[0], derived[1]);
        // The same key again is no other one.
        assert_eq!(after.behind(&newer).expect("keys").derive("signing"), derived);
    }

    #[test]
    fn a_bad_key_is_refused() {
        assert_eq!(MasterKeys::parse(["c2hvcnQ="]).err(), Some(KeyError));
        assert_eq!(MasterKeys::parse([]).err(), Some(KeyError));
    }
}
