//! A deploy: static assets, the version, and then where and when it runs.

use serde::Serialize;
use skep_bundle::{Build, Config};

use crate::api::{Annotations, Api, Version};
use crate::assets;
use crate::error::{Error, INHERIT, Result};
use crate::provision::provision;
use crate::upload::{Said, Upload};

pub use crate::assets::UploadedAssets;
pub use crate::provision::Made;

/// How far a deploy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Static assets that are uploaded, of those that were missing.
    Assets {
        /// How many are there.
        done: usize,
        /// How many are needed.
        of: usize,
    },
    /// The version is uploaded, and started once.
    Version {
        /// Its size in bytes.
        size: usize,
    },
    /// Routes, domains and cron triggers.
    Triggers,
}

/// What a person says of a deploy.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Message and tag.
    pub annotations: Annotations,
    /// Whether variables stay that were set elsewhere.
    pub keep_vars: bool,
}

/// A version that the platform has.
#[derive(Clone, Debug, Serialize)]
pub struct Uploaded {
    /// The Worker.
    pub worker: String,
    /// The version's id.
    pub version_id: String,
    /// Whether the Worker is new.
    pub is_new: bool,
    /// Bytes of all modules.
    pub size: usize,
    /// How long it took to start, in milliseconds.
    pub startup_time_ms: u64,
    /// Static assets, if there are any.
    pub assets: Option<UploadedAssets>,
    /// What was made for bindings without an id.
    pub made: Vec<Made>,
    /// The address of this version alone.
    pub preview_url: Option<String>,
}

/// Where and when a Worker runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Triggers {
    /// Addresses: the Worker's own, and custom domains.
    pub urls: Vec<String>,
    /// Patterns of routes.
    pub routes: Vec<String>,
    /// Cron expressions.
    pub crons: Vec<String>,
}

/// How a version gets there.
enum Way {
    /// It is deployed at once.
    Deployed,
    /// It waits.
    Waiting,
}

/// Uploads a build and deploys it at once.
///
/// # Errors
/// When the platform refuses: a script that does not start is refused with its own error.
pub async fn deploy(
    api: &Api,
    config: &Config,
    build: &Build,
    options: &Options,
    say: &(dyn Fn(Step) + Sync),
) -> Result<Uploaded> {
    send(api, config, build, options, say, Way::Deployed).await
}

/// Uploads a build as a version, and deploys nothing.
///
/// # Errors
/// As [`deploy`].
pub async fn upload(
    api: &Api,
    config: &Config,
    build: &Build,
    options: &Options,
    say: &(dyn Fn(Step) + Sync),
) -> Result<Uploaded> {
    send(api, config, build, options, say, Way::Waiting).await
}

async fn send(
    api: &Api,
    config: &Config,
    build: &Build,
    options: &Options,
    say: &(dyn Fn(Step) + Sync),
    way: Way,
) -> Result<Uploaded> {
    let worker = build.version.worker.as_str();
    let found = api.worker(worker).await?;
    let (jwt, assets) = match &build.assets {
        Some(assets) => {
            let (jwt, uploaded) = assets::upload(api, worker, assets, say).await?;
            (Some(jwt), Some(uploaded))
        }
        None => (None, None),
    };
    let (bindings, made) = provision(api, worker, &config.deploy.bindings).await?;
    let said = Said {
        annotations: options.annotations.clone(),
        keep_vars: options.keep_vars,
        assets: jwt,
        migration_tag: found.as_ref().and_then(|worker| worker.migration_tag.clone()),
    };
    let upload = Upload::new(config, build, &bindings, &said);
    let size = upload.size();
    say(Step::Version { size });
    let mut uploaded = Uploaded {
        worker: worker.to_owned(),
        version_id: String::new(),
        is_new: found.is_none(),
        size,
        startup_time_ms: 0,
        assets,
        made,
        preview_url: None,
    };
    match way {
        Way::Deployed => {
            let answer = api.upload(worker, upload.form()).await.map_err(explained)?;
            uploaded.version_id = hyphenated(&answer.deployment_id);
            uploaded.startup_time_ms = answer.startup_time_ms;
        }
        Way::Waiting => {
            let version: Version = api.upload_version(worker, upload.form()).await.map_err(explained)?;
            if version.metadata.has_preview {
                uploaded.preview_url = preview(api, worker, &version.id).await;
            }
            uploaded.version_id = version.id;
            uploaded.startup_time_ms = version.startup_time_ms;
        }
    }
    Ok(uploaded)
}

/// The address of a version alone, if it can be told: an upload does not fail for it.
async fn preview(api: &Api, worker: &str, version: &str) -> Option<String> {
    let url = api.worker_address(worker).await.ok()?.url?;
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}-{rest}", version.get(..8)?))
}

/// A secret that is required and not there is told as such.
fn explained(error: Error) -> Error {
    match error {
        Error::Api { status, code: code @ INHERIT, message, .. } => Error::Api {
            status,
            code,
            message,
            hint: Some(
                "the binding is inherited from the version before, which does not have it. If it is a required secret, put it \
                 with `skep secret put NAME`",
            ),
        },
        other => other,
    }
}

/// An id with its hyphens: RFC 9562, section 4.
fn hyphenated(id: &str) -> String {
    if id.len() != 32 || !id.is_ascii() {
        return id.to_owned();
    }
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
}

/// Lets a Worker answer where the configuration says, and run when it says.
///
/// # Errors
/// When a route or domain is somebody else's, or a cron expression is none.
pub async fn apply_triggers(api: &Api, worker: &str, config: &Config, say: &(dyn Fn(Step) + Sync)) -> Result<Triggers> {
    say(Step::Triggers);
    let deploy = &config.deploy;
    let own_address = deploy.workers_dev.unwrap_or(deploy.routes.is_empty());
    api.put_worker_address(worker, own_address, deploy.preview_urls.unwrap_or(own_address)).await?;
    let select = |custom: bool| {
        let routes = deploy.routes.iter().filter(move |route| route.custom_domain == custom);
        routes.map(|route| route.pattern.as_str()).collect::<Vec<_>>()
    };
    let (routes, hosts) = (select(false), select(true));
    if !routes.is_empty() {
        api.put_routes(worker, &routes).await?;
    }
    if !hosts.is_empty() {
        api.put_custom_domains(worker, &hosts).await?;
    }
    if let Some(crons) = &deploy.crons {
        api.put_schedules(worker, crons).await?;
    }
    let address = api.worker_address(worker).await?;
    let own = address.url.filter(|_| address.enabled);
    let scheme = if api.url().as_str().starts_with("https") { "https" } else { "http" };
    Ok(Triggers {
        urls: own.into_iter().chain(hosts.iter().map(|host| format!("{scheme}://{host}"))).collect(),
        routes: routes.into_iter().map(str::to_owned).collect(),
        crons: deploy.crons.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::hyphenated;

    #[test]
    fn ids_get_their_hyphens() {
        let id = "0191a2b3c4d5e6f708192a3b4c5d6e7f";
        assert_eq!(hyphenated(id), "0191a2b3-c4d5-e6f7-0819-2a3b4c5d6e7f");
        assert_eq!(hyphenated("0191a2b3-c4d5-e6f7-0819-2a3b4c5d6e7f"), "0191a2b3-c4d5-e6f7-0819-2a3b4c5d6e7f");
    }
}
