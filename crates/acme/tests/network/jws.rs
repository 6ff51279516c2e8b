//! The requests of ACME as the test authority takes them: signed, fresh, and for the URL that they were sent to. RFC 8555, section 6.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    nonce: String,
    url: String,
    jwk: Option<Value>,
    kid: Option<String>,
}

/// A public key of P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    x: String,
    y: String,
}

impl Key {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk[name].as_str().map(str::to_owned);
        (jwk["kty"] == "EC" && jwk["crv"] == "P-256").then_some(())?;
        Some(Self { x: text("x")?, y: text("y")? })
    }

    fn point(&self) -> Option<Vec<u8>> {
        let decoded = [&self.x, &self.y].map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let [Some(x), Some(y)] = decoded else { return None };
        Some([&[4], &*x, &*y].concat())
    }

    /// RFC 7638.
    pub(crate) fn thumbprint(&self) -> String {
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }
}

/// A request, read and not yet believed.
pub(crate) struct Signed {
    header: Header,
    signed: String,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

impl Signed {
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string());
        let flattened: Flattened = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let header: Header =
            serde_json::from_slice(&decode(&flattened.protected)?).map_err(|error| error.to_string())?;
        if header.alg != "ES256" || header.jwk.is_some() == header.kid.is_some() {
            return Err("the header must have alg ES256, and either jwk or kid".to_owned());
        }
        Ok(Self {
            header,
            signed: format!("{}.{}", flattened.protected, flattened.payload),
            signature: decode(&flattened.signature)?,
            payload: decode(&flattened.payload)?,
        })
    }

    pub(crate) fn nonce(&self) -> &str {
        &self.header.nonce
    }

    pub(crate) fn url(&self) -> &str {
        &self.header.url
    }

    pub(crate) fn account(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    pub(crate) fn own_key(&self) -> Option<Key> {
        Key::read(self.header.jwk.as_ref()?)
    }

    /// What was said, if a key signed it. POST-as-GET says nothing.
    pub(crate) fn payload(&self, key: &Key) -> Option<Option<Value>> {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point()?);
        key.verify(self.signed.as_bytes(), &self.signature).ok()?;
        if self.payload.is_empty() { Some(None) } else { Some(Some(serde_json::from_slice(&self.payload).ok()?)) }
    }
}
