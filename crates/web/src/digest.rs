//! Digests that take their input piece by piece, and comparison in constant time.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use deno_core::convert::Uint8Array;
use deno_core::{OpState, Resource, ResourceId, op2};
use deno_error::JsErrorBox;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

struct Digest(RefCell<Box<dyn DynDigest>>);

impl Resource for Digest {
    fn name(&self) -> Cow<'_, str> {
        "digest".into()
    }
}

/// Begins a digest.
#[op2(fast)]
#[smi]
pub(crate) fn op_digest_start(state: &mut OpState, #[string] algorithm: &str) -> Result<ResourceId, JsErrorBox> {
    let digest: Box<dyn DynDigest> = match algorithm {
        "MD5" => Box::new(Md5::default()),
        "SHA-1" => Box::new(Sha1::default()),
        "SHA-256" => Box::new(Sha256::default()),
        "SHA-384" => Box::new(Sha384::default()),
        "SHA-512" => Box::new(Sha512::default()),
        other => return Err(JsErrorBox::type_error(format!("unknown digest algorithm \"{other}\""))),
    };
    Ok(state.resource_table.add(Digest(RefCell::new(digest))))
}

/// Adds input.
#[op2(fast)]
pub(crate) fn op_digest_update(
    state: &OpState,
    #[smi] rid: ResourceId,
    #[buffer] bytes: &[u8],
) -> Result<(), JsErrorBox> {
    let digest = get(state, rid)?;
    digest.0.borrow_mut().update(bytes);
    Ok(())
}

/// Ends a digest.
#[op2]
pub(crate) fn op_digest_finish(state: &mut OpState, #[smi] rid: ResourceId) -> Result<Uint8Array, JsErrorBox> {
    let digest = state.resource_table.take::<Digest>(rid).map_err(JsErrorBox::from_err)?;
    let hash = digest.0.borrow_mut().finalize_reset();
    Ok(hash.into_vec().into())
}

fn get(state: &OpState, rid: ResourceId) -> Result<Rc<Digest>, JsErrorBox> {
    state.resource_table.get::<Digest>(rid).map_err(JsErrorBox::from_err)
}

/// Whether two buffers of the same length are equal, in a time that does not tell where they differ.
#[op2(fast)]
pub(crate) fn op_timing_safe_equal(#[buffer] left: &[u8], #[buffer] right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
