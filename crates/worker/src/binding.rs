//! Bindings: what `env.NAME` is inside a Worker.

use crate::Secret;

/// One property of a Worker's `env`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The property's name.
    pub name: String,
    /// What the property holds.
    pub kind: BindingKind,
}

/// What a binding holds.
/// Names follow <https://developers.cloudflare.com/workers/runtime-apis/bindings/>.
#[derive(Clone, Debug, PartialEq)]
pub enum BindingKind {
    /// A string from `vars`.
    PlainText(String),
    /// Any other JSON value from `vars`.
    Json(serde_json::Value),
    /// A secret string, from `.dev.vars`, `.env` or the control plane.
    SecretText(Secret),
    /// `{ id, tag, timestamp }` of the running version.
    VersionMetadata,
    /// A module of this version, by its name: a `WebAssembly.Module`, a string or an `ArrayBuffer` by the module's type.
    Module(String),
    /// The version's static assets: `fetch()` answers from them, never from the Worker.
    /// <https://developers.cloudflare.com/workers/static-assets/binding/>
    Assets,
    /// A binding that the configuration names and this platform does not serve yet: every use throws an error that says so.
    Unavailable {
        /// Cloudflare's name for the binding's type, such as `kv_namespace`.
        kind: String,
    },
}
