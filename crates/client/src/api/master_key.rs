//! The key that the platform seals secrets under. For the owner of the machine.

use ::http::Method;
use serde::{Deserialize, Serialize};

use super::{Api, Root, Sent};
use crate::error::Result;

/// The master key, and what is sealed under it and under others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MasterKey {
    /// Its name: 8 hexadecimal digits.
    pub key: String,
    /// Where it is kept, such as `the file /var/lib/skep/master-key`.
    pub kept_in: String,
    /// The secrets that are sealed under it. Each version has its own.
    pub secrets: u64,
    /// What is sealed under other keys.
    pub others: Vec<SealedUnder>,
}

/// A master key that took the place of another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotated {
    /// Its name: 8 hexadecimal digits.
    pub key: String,
    /// The name of the one before.
    pub former_key: String,
    /// The secrets that were sealed again.
    pub resealed: u64,
    /// What is still sealed under other keys, as no key that is known opens it.
    pub others: Vec<SealedUnder>,
}

/// The secrets that are sealed under a key that is not the current one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SealedUnder {
    /// The key's name: 8 hexadecimal digits.
    pub key: String,
    /// Whether the platform knows the key.
    pub is_known: bool,
    /// How many they are.
    pub secrets: u64,
    /// The Workers that have them, as `<name>.<subdomain>`: the first of them by name.
    pub workers: Vec<String>,
    /// How many Workers these are.
    pub worker_count: u64,
}

impl Api {
    /// The master key's name, and how many secrets are sealed under it and under others.
    ///
    /// # Errors
    /// When the token has not the permission `operator`, or the platform cannot be reached.
    pub async fn master_key(&self) -> Result<MasterKey> {
        self.get(Root::Own, "/master-key").await
    }

    /// Has the platform replace the master key, and waits until every secret is sealed again.
    ///
    /// # Errors
    /// When the token has not the permission `operator`, another rotation is going on, or the key is where the platform cannot
    /// write: the message says what to do.
    pub async fn rotate_master_key(&self) -> Result<Rotated> {
        self.send(Method::POST, Root::Own, "/master-key/rotate", Sent::Nothing).await
    }
}
