//! `skep deploy`: from a project to a Worker that answers.

use std::error::Error;

use clap::Args;
use serde_json::{Value, json};
use skep_bundle::{Build, Project};
use skep_client::api::Annotations;
use skep_client::deploy::{self, Options, Step, Triggers, Uploaded};
use skep_client::promotion::{Every, Plan, Promotion, RollbackOn, State, Steps};
use skep_client::upload::{Said, Upload};
use skep_client::{Api, times};

use crate::commands::connection::Connection;
use crate::commands::project::BuildArguments;
use crate::commands::{Outcome, block_on};
use crate::output::{self, Progress};

/// Build a project and deploy it: it is live when this ends
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    build: BuildArguments,
    #[command(flatten)]
    gradual: Gradual,
    #[command(flatten)]
    connection: Connection,
}

/// How traffic moves to a version.
#[derive(Args)]
pub(crate) struct Gradual {
    /// Give the version the traffic step by step: shares in percent, such as 1,10,50,100
    #[arg(long, value_name = "SHARES", help_heading = "Gradual")]
    gradual: Option<Steps>,
    /// The time between two steps, such as 30s, 1m or 2h
    #[arg(long, value_name = "TIME", default_value = "1m", requires = "gradual", help_heading = "Gradual")]
    every: Every,
    /// Go back if more requests than that fail, such as 'error-rate>2%'
    #[arg(long, value_name = "RATE", requires = "gradual", help_heading = "Gradual")]
    rollback_on: Option<RollbackOn>,
    /// Wait until the version has all the traffic, also where there is no terminal
    #[arg(long, requires = "gradual", help_heading = "Gradual")]
    wait: bool,
}

impl Gradual {
    /// What is asked for, if it is.
    pub(crate) fn plan(&self, message: Option<&str>) -> Option<Plan> {
        Some(Plan {
            steps: self.gradual.clone()?,
            every: self.every,
            rollback_on: self.rollback_on,
            message: message.map(str::to_owned),
        })
    }

    /// Begins the promotion, and follows it if somebody waits for its end.
    pub(crate) async fn promote(
        &self,
        api: &Api,
        worker: &str,
        version: &str,
        plan: &Plan,
        for_programs: bool,
    ) -> Result<Promotion, Box<dyn Error>> {
        let progress = Progress::new(for_programs);
        let begun = api.promote(worker, version, plan).await?;
        if !self.wait && (for_programs || !output::is_watched()) {
            return Ok(begun);
        }
        let ended = api.follow(worker, begun, &|now| progress.step(&shown_promotion(now))).await?;
        progress.done();
        Ok(ended)
    }
}

/// One line about a promotion.
pub(crate) fn shown_promotion(promotion: &Promotion) -> String {
    let share = format!("{} % of the traffic", promotion.share());
    let failed = format!("{} requests, {} failed", promotion.requests, promotion.errors);
    let reason = promotion.reason.as_deref().unwrap_or_default();
    match promotion.state {
        State::Running => {
            let next = promotion
                .next_on
                .as_deref()
                .map_or_else(String::new, |next| format!(", next step {}", times::local(next)));
            format!("{} has {share} ({failed}{next})", promotion.version_id)
        }
        State::Done => format!("{} has all the traffic ({failed})", promotion.version_id),
        State::RolledBack => reason.to_owned(),
        State::Stopped => format!("{} was stopped at {share} ({failed}): {reason}", promotion.version_id),
    }
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    block_on(async {
        let for_programs = arguments.connection.json;
        let given = &arguments.build;
        if given.dry_run {
            let (project, build) = given.build(for_programs).await?;
            return dry_run(given, &project, &build, for_programs);
        }
        // What is wrong with the login is said before anything is built.
        let platform = arguments.connection.platform()?;
        let (project, build) = given.build(for_programs).await?;
        let api = Api::open(&platform).await?;
        let plan = arguments.gradual.plan(given.message.as_deref());
        let (uploaded, promotion) = send(&api, &project, &build, given, plan.is_some(), for_programs).await?;
        let worker = uploaded.worker.clone();
        let progress = Progress::new(for_programs);
        let triggers =
            deploy::apply_triggers(&api, &worker, project.config(), &|step| progress.step(&shown(step))).await;
        progress.done();
        let triggers = triggers?;
        if !for_programs {
            say_uploaded(&uploaded, promotion);
            say_triggers(&triggers);
        }
        let promotion = match plan.filter(|_| promotion) {
            Some(plan) => {
                Some(arguments.gradual.promote(&api, &worker, &uploaded.version_id, &plan, for_programs).await?)
            }
            None => None,
        };
        if for_programs {
            let mut document = json!(uploaded);
            let fields = json!({ "triggers": triggers, "promotion": promotion, "warnings": build.warnings });
            merge(&mut document, fields);
            output::document(&document);
        } else if let Some(promotion) = promotion.as_ref().filter(|promotion| promotion.check().is_ok()) {
            output::line(&shown_promotion(promotion));
            if promotion.state == State::Running {
                output::line("`skep deployments status` shows how it goes, `skep rollback` undoes it");
            }
        }
        Ok(promotion.map_or(Ok(()), |promotion| promotion.check())?)
    })
}

fn merge(document: &mut Value, fields: Value) {
    if let (Some(document), Value::Object(fields)) = (document.as_object_mut(), fields) {
        document.extend(fields);
    }
}

/// Uploads the version. Gives whether it is to be promoted: a Worker of which nothing is deployed has no traffic to move.
async fn send(
    api: &Api,
    project: &Project,
    build: &Build,
    given: &BuildArguments,
    gradual: bool,
    for_programs: bool,
) -> Result<(Uploaded, bool), Box<dyn Error>> {
    let progress = Progress::new(for_programs);
    let say = |step| progress.step(&shown(step));
    let gradual = gradual && has_traffic(api, &build.version.worker).await?;
    let options = options(given);
    let uploaded = if gradual {
        deploy::upload(api, project.config(), build, &options, &say).await
    } else {
        deploy::deploy(api, project.config(), build, &options, &say).await
    };
    progress.done();
    Ok((uploaded?, gradual))
}

async fn has_traffic(api: &Api, worker: &str) -> Result<bool, Box<dyn Error>> {
    match api.deployments(worker).await {
        Ok(deployments) => Ok(!deployments.is_empty()),
        Err(error) if error.is_no_worker() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What a person says of an upload.
pub(crate) fn options(given: &BuildArguments) -> Options {
    Options {
        annotations: Annotations { message: given.message.clone(), tag: given.tag.clone(), triggered_by: None },
        keep_vars: given.keep_vars,
    }
}

/// One line about a step.
pub(crate) fn shown(step: Step) -> String {
    match step {
        Step::Assets { of: 0, .. } => "No new static assets".to_owned(),
        Step::Assets { done, of } => format!("Static assets: {done} of {of} uploaded"),
        Step::Version { size } => format!("Uploading {}", output::size(size as u64)),
        Step::Triggers => "Setting routes, domains and cron triggers".to_owned(),
    }
}

/// What is known once a version is there.
pub(crate) fn say_uploaded(uploaded: &Uploaded, is_waiting: bool) {
    for made in &uploaded.made {
        output::line(&format!("Made {} \"{}\" for the binding {}", made.kind, made.name, made.binding));
    }
    if let Some(assets) = &uploaded.assets {
        let new = format!("{} new ({})", assets.uploaded, output::size(assets.bytes));
        output::line(&format!("Static assets: {} files, {new}", assets.files));
    }
    let verb = if is_waiting { "Uploaded" } else { "Deployed" };
    let size = output::size(uploaded.size as u64);
    let started =
        if uploaded.size > 0 { format!(", started in {} ms", uploaded.startup_time_ms) } else { String::new() };
    output::line(&format!("{verb} {}, version {} ({size}{started})", uploaded.worker, uploaded.version_id));
    if let Some(url) = &uploaded.preview_url {
        output::line(&format!("  {url} (this version only)"));
    }
}

fn say_triggers(triggers: &Triggers) {
    for url in &triggers.urls {
        output::line(&format!("  {url}"));
    }
    for route in &triggers.routes {
        output::line(&format!("  {route} (route)"));
    }
    for cron in &triggers.crons {
        output::line(&format!("  {cron} (cron trigger, UTC)"));
    }
    if triggers.urls.is_empty() && triggers.routes.is_empty() {
        output::line("  it has no address: other Workers reach it by a service binding");
    }
}

/// Says what would be uploaded.
pub(crate) fn dry_run(given: &BuildArguments, project: &Project, build: &Build, for_programs: bool) -> Outcome {
    let said = Said { annotations: options(given).annotations, keep_vars: given.keep_vars, ..Said::default() };
    let upload = Upload::new(project.config(), build, &project.config().deploy.bindings, &said);
    if let Some(folder) = &given.outdir {
        upload.write(folder)?;
    }
    let assets = build.assets.as_ref().map(|assets| assets.folder.manifest.len());
    if for_programs {
        let modules: Vec<Value> = upload
            .modules
            .iter()
            .map(|(name, content_type, content)| json!({ "name": name, "type": content_type, "size": content.len() }))
            .collect();
        output::document(&json!({
            "dry_run": true, "worker": build.version.worker, "metadata": upload.metadata, "modules": modules, "assets": assets,
            "warnings": build.warnings,
        }));
        return Ok(());
    }
    let rows: Vec<[String; 3]> = upload
        .modules
        .iter()
        .map(|(name, content_type, content)| {
            [name.clone(), (*content_type).to_owned(), output::size(content.len() as u64)]
        })
        .collect();
    if !rows.is_empty() {
        output::table(["MODULE", "TYPE", "SIZE"], &rows);
    }
    let bindings = upload.metadata.get("bindings").and_then(Value::as_array);
    for binding in bindings.into_iter().flatten() {
        let text = |key: &str| binding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        output::line(&format!("env.{} ({})", text("name"), text("type")));
    }
    if let Some(assets) = assets {
        output::line(&format!("{assets} static assets"));
    }
    output::line(&format!(
        "{} would be uploaded as {}; nothing was sent",
        output::size(upload.size() as u64),
        build.version.worker
    ));
    Ok(())
}
