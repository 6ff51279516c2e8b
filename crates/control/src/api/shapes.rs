//! Records as Cloudflare's API shows them.

use serde_json::{Value, json};
use skep_store::{Deployment, VersionRecord, WorkerRecord, WorkerSettings};

use crate::answer::date;

pub(crate) fn script(worker: &WorkerRecord, latest: Option<&VersionRecord>) -> Value {
    json!({
        "id": worker.name,
        "tag": worker.id.simple().to_string(),
        "tags": worker.settings.tags,
        "created_on": date(worker.created_on),
        "modified_on": date(worker.modified_on),
        "etag": latest.map(|version| version.id.simple().to_string()),
        "handlers": latest.map(|version| version.content.handlers.clone()).unwrap_or_default(),
        "has_modules": latest.is_none_or(|version| !version.content.service_worker),
        "has_assets": latest.is_some_and(|version| version.content.assets.is_some()),
        "compatibility_date": latest.and_then(|version| version.content.compatibility_date.clone()),
        "compatibility_flags": latest.map(|version| version.content.compatibility_flags.clone()).unwrap_or_default(),
        "usage_model": "standard",
        "migration_tag": worker.settings.migration_tag,
        "last_deployed_from": "wrangler",
        "logpush": worker.settings.logpush,
        "observability": observability(&worker.settings),
    })
}

pub(crate) fn version(version: &VersionRecord, has_preview: bool) -> Value {
    let content = &version.content;
    let bindings: Vec<Value> =
        version.bindings.iter().filter_map(|binding| serde_json::to_value(binding.shown()).ok()).collect();
    json!({
        "id": version.id,
        "number": version.number,
        "metadata": {
            "created_on": date(version.created_on),
            "modified_on": date(version.created_on),
            "author_id": version.author,
            "author_email": version.author,
            "source": version.source,
            "has_preview": has_preview,
            "hasPreview": has_preview,
        },
        "annotations": version.annotations,
        "resources": {
            "bindings": bindings,
            "script": {
                "etag": version.id.simple().to_string(),
                "handlers": content.handlers,
                "last_deployed_from": version.source,
            },
            "script_runtime": {
                "compatibility_date": content.compatibility_date,
                "compatibility_flags": content.compatibility_flags,
                "usage_model": "standard",
                "limits": content.cpu_ms.map(|cpu_ms| json!({ "cpu_ms": cpu_ms })),
            },
        },
        "startup_time_ms": content.startup_time_ms,
    })
}

pub(crate) fn deployment(deployment: &Deployment) -> Value {
    json!({
        "id": deployment.id,
        "source": deployment.source,
        "strategy": "percentage",
        "author_email": deployment.author,
        "created_on": date(deployment.created_on),
        "annotations": deployment.annotations,
        "versions": deployment.versions,
    })
}

/// Which logs are kept. Wrangler writes it into a project as it is, where null has no meaning.
pub(super) fn observability(settings: &WorkerSettings) -> Value {
    settings.observability.clone().unwrap_or_else(|| json!({ "enabled": false }))
}
