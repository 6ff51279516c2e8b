//! `skep versions`: uploads of a Worker, and which of them get the traffic.

use std::error::Error;

use clap::{Args, Subcommand};
use serde_json::Value;
use skep_client::api::{Annotations, Share, Version};
use skep_client::{Api, deploy, times};

use crate::commands::connection::Connection;
use crate::commands::deploy::{Gradual, dry_run, options, say_uploaded, shown, shown_promotion};
use crate::commands::project::{BuildArguments, Selection};
use crate::commands::{Outcome, block_on};
use crate::output::{self, Progress};

/// List, view, upload and deploy versions of a Worker
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Command {
    /// List versions, newest first
    List(Selection),
    /// Show a version
    View {
        /// The version: its id or the beginning of it, its number, its tag, or latest
        #[arg(value_name = "VERSION")]
        wanted: String,
        #[command(flatten)]
        selection: Selection,
    },
    /// Build a project and upload it, without giving it traffic
    Upload(Box<BuildArguments>),
    /// Give versions their share of the traffic
    Deploy {
        /// Versions with their shares, such as 3@10% 2@90%; those without one share what is left
        #[arg(required = true, value_name = "VERSION[@SHARE]")]
        versions: Vec<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
        #[command(flatten)]
        gradual: Gradual,
        #[command(flatten)]
        selection: Selection,
    },
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    let connection = &arguments.connection;
    block_on(async {
        match &arguments.command {
            Command::List(selection) => list(connection, &selection.worker()?).await,
            Command::View { wanted, selection } => view(connection, &selection.worker()?, wanted).await,
            Command::Upload(given) => upload(connection, given).await,
            Command::Deploy { versions, message, gradual, selection } => {
                let worker = selection.worker()?;
                deploy_versions(connection, &worker, versions, message.as_deref(), gradual).await
            }
        }
    })
}

async fn list(connection: &Connection, worker: &str) -> Outcome {
    let versions = connection.api().await?.versions(worker).await?;
    if connection.json {
        output::document(&versions);
        return Ok(());
    }
    let row = |version: &Version| {
        let said = [&version.annotations.tag, &version.annotations.message];
        let said: Vec<&str> = said.into_iter().flatten().map(String::as_str).collect();
        [
            version.number.to_string(),
            version.id.clone(),
            times::local(&version.metadata.created_on),
            version.metadata.author_email.clone(),
            said.join(": "),
        ]
    };
    output::table(["NUMBER", "VERSION", "UPLOADED", "BY", ""], &versions.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn view(connection: &Connection, worker: &str, wanted: &str) -> Outcome {
    let version = connection.api().await?.find_version(worker, wanted).await?;
    if connection.json {
        output::document(&version);
        return Ok(());
    }
    let at = |pointer: &str| version.resources.pointer(pointer).cloned().unwrap_or_default();
    let words = |value: Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(", ")
    };
    let fields = [
        ("Version", version.id.clone()),
        ("Number", version.number.to_string()),
        ("Uploaded", times::local(&version.metadata.created_on)),
        ("By", format!("{} ({})", version.metadata.author_email, version.metadata.source)),
        ("Tag", version.annotations.tag.clone().unwrap_or_default()),
        ("Message", version.annotations.message.clone().unwrap_or_default()),
        ("Handlers", words(at("/script/handlers"))),
        ("Compatibility", at("/script_runtime/compatibility_date").as_str().unwrap_or_default().to_owned()),
        ("Flags", words(at("/script_runtime/compatibility_flags"))),
        ("Started in", format!("{} ms", version.startup_time_ms)),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        output::line(&format!("{name:<14} {value}"));
    }
    for binding in version.bindings() {
        let text = |key: &str| binding.get(key).and_then(Value::as_str).unwrap_or_default();
        output::line(&format!("{:<14} env.{} ({})", "Binding", text("name"), text("type")));
    }
    Ok(())
}

async fn upload(connection: &Connection, given: &BuildArguments) -> Outcome {
    if given.dry_run {
        let (project, build) = given.build(connection.json).await?;
        return dry_run(given, &project, &build, connection.json);
    }
    let platform = connection.platform()?;
    let (project, build) = given.build(connection.json).await?;
    let api = Api::open(&platform).await?;
    let progress = Progress::new(connection.json);
    let say = |step| progress.step(&shown(step));
    let uploaded = deploy::upload(&api, project.config(), &build, &options(given), &say).await;
    progress.done();
    let uploaded = uploaded?;
    if connection.json {
        output::document(&uploaded);
        return Ok(());
    }
    say_uploaded(&uploaded, true);
    output::line(&format!("Give it traffic with `skep versions deploy {}`", uploaded.version_id));
    Ok(())
}

async fn deploy_versions(
    connection: &Connection,
    worker: &str,
    wanted: &[String],
    message: Option<&str>,
    gradual: &Gradual,
) -> Outcome {
    let api = connection.api().await?;
    if let Some(plan) = gradual.plan(message) {
        let [version] = wanted else {
            return Err("--gradual moves the traffic to one version: name one, without a share".into());
        };
        let version = api.find_version(worker, version).await?;
        let promotion = gradual.promote(&api, worker, &version.id, &plan, connection.json).await?;
        match connection.json {
            true => output::document(&promotion),
            false => output::line(&shown_promotion(&promotion)),
        }
        return Ok(promotion.check()?);
    }
    let mut shares = Vec::new();
    for (version, percentage) in shared(wanted)? {
        let version = api.find_version(worker, &version).await?;
        shares.push(Share { version_id: version.id, percentage });
    }
    let annotations = Annotations { message: message.map(str::to_owned), ..Annotations::default() };
    let deployment = api.deploy_versions(worker, &shares, &annotations).await?;
    if connection.json {
        output::document(&deployment);
        return Ok(());
    }
    for share in &deployment.versions {
        output::line(&format!("{} has {} % of the traffic of {worker}", share.version_id, share.percentage));
    }
    Ok(())
}

/// Each version with its share: those without one have equal parts of what is left.
fn shared(wanted: &[String]) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let mut shares: Vec<(String, Option<f64>)> = Vec::new();
    for text in wanted {
        let Some((version, share)) = text.rsplit_once('@') else {
            shares.push((text.clone(), None));
            continue;
        };
        let share: f64 = share
            .trim_end_matches('%')
            .parse()
            .ok()
            .filter(|share| (0.0..=100.0).contains(share))
            .ok_or_else(|| format!("\"{share}\" is no share of the traffic: write it like 10%"))?;
        shares.push((version.to_owned(), Some(share)));
    }
    let given: f64 = shares.iter().filter_map(|(_, share)| *share).sum();
    let open = shares.iter().filter(|(_, share)| share.is_none()).count();
    if given > 100.0 || (open == 0 && given != 100.0) {
        return Err(format!("the shares add up to {given} %: make it 100 %, or leave one of them out").into());
    }
    let rest = (100.0 - given) / open.max(1) as f64;
    Ok(shares.into_iter().map(|(version, share)| (version, share.unwrap_or(rest))).collect())
}

/// One line about a deployment's shares.
pub(crate) fn shown_shares(shares: &[Share]) -> String {
    let share = |share: &Share| format!("{} {} %", share.version_id, share.percentage);
    shares.iter().map(share).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn shares_add_up() {
        let check = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
            shared(&wanted).map_err(|error| error.to_string())
        };
        let pairs =
            |pairs: &[(&str, f64)]| Ok(pairs.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect());
        assert_eq!(check(&["a"]), pairs(&[("a", 100.0)]));
        assert_eq!(check(&["a@10%", "b"]), pairs(&[("a", 10.0), ("b", 90.0)]));
        assert_eq!(check(&["a@10", "b", "c"]), pairs(&[("a", 10.0), ("b", 45.0), ("c", 45.0)]));
        for wrong in [&["a@10%"] as &[&str], &["a@60%", "b@60%"], &["a@ten"], &["a@-1"], &["a@101%"]] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
