//! Bindings whose id the configuration leaves out: taken over from the version before, found by name, or made.

use ::http::Method;
use serde_json::{Map, Value, json};

use crate::api::{Api, Root, Sent};
use crate::error::{Result, if_there};

/// What a kind of binding leads to: where those are listed and made, and under which names.
struct Resource {
    /// The binding's type.
    kind: &'static str,
    /// The binding's field that says which one it is.
    field: &'static str,
    path: &'static str,
    /// The list inside of the answer, if the answer is not the list.
    list: &'static str,
    /// The name's field, in the list and when one is made.
    name: &'static str,
    /// The field of an entry that the binding's field gets.
    id: &'static str,
}

const RESOURCES: [Resource; 4] = [
    Resource {
        kind: "kv_namespace",
        field: "namespace_id",
        path: "/storage/kv/namespaces",
        list: "",
        name: "title",
        id: "id",
    },
    Resource { kind: "d1", field: "id", path: "/d1/database", list: "", name: "name", id: "uuid" },
    Resource {
        kind: "r2_bucket",
        field: "bucket_name",
        path: "/r2/buckets",
        list: "buckets",
        name: "name",
        id: "name",
    },
    Resource { kind: "queue", field: "queue_name", path: "/queues", list: "", name: "queue_name", id: "queue_name" },
];

/// Something that was made for a binding.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// The binding.
    pub binding: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of what was made.
    pub name: String,
}

/// Fills in the ids that are missing.
pub(crate) async fn provision(
    api: &Api,
    worker: &str,
    bindings: &[Map<String, Value>],
) -> Result<(Vec<Map<String, Value>>, Vec<Made>)> {
    let (mut filled, mut made) = (bindings.to_vec(), Vec::new());
    let mut before = None;
    for binding in &mut filled {
        let text = |key: &str| binding.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(name), Some(kind)) = (text("name"), text("type")) else { continue };
        let Some(resource) = RESOURCES.iter().find(|resource| resource.kind == kind) else { continue };
        if text(resource.field).is_some_and(|id| !id.is_empty()) {
            continue;
        }
        let known = match &before {
            Some(known) => known,
            None => before.insert(if_there(api.settings(worker).await)?.unwrap_or_default()),
        };
        let known = known.get("bindings").and_then(Value::as_array).into_iter().flatten();
        let is_same = |old: &Value| old.get("name") == Some(&json!(name)) && old.get("type") == Some(&json!(kind));
        if known.into_iter().any(is_same) {
            *binding = Map::from_iter([("name".to_owned(), json!(name)), ("type".to_owned(), json!("inherit"))]);
            continue;
        }
        let wanted = format!("{worker}-{}", name.to_lowercase().replace('_', "-"));
        let id = match find(api, resource, &wanted).await? {
            Some(id) => id,
            None => {
                let sent = Sent::Json(json!({ resource.name: wanted }));
                let new: Value = api.send(Method::POST, Root::Account, resource.path, sent).await?;
                made.push(Made { binding: name, kind, name: wanted.clone() });
                new.get(resource.id).and_then(Value::as_str).unwrap_or(&wanted).to_owned()
            }
        };
        binding.insert(resource.field.to_owned(), id.into());
    }
    Ok((filled, made))
}

/// The id of the one with that name.
async fn find(api: &Api, resource: &Resource, name: &str) -> Result<Option<String>> {
    let entries: Vec<Value> = if resource.list.is_empty() {
        api.list(Root::Account, resource.path).await?
    } else {
        let mut answer: Value = api.get(Root::Account, resource.path).await?;
        match answer.get_mut(resource.list).map(Value::take) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        }
    };
    let found = entries.iter().find(|entry| entry.get(resource.name).and_then(Value::as_str) == Some(name));
    Ok(found.and_then(|entry| entry.get(resource.id)?.as_str()).map(str::to_owned))
}
