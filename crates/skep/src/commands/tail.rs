//! `skep tail`: the live log of a Worker.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_client::api::Version;
use skep_client::tail::{Filters, Status, Tail, pretty};
use skep_client::{Api, Error};

use crate::commands::connection::Connection;
use crate::commands::project::Selection;
use crate::commands::{Outcome, block_on};
use crate::output;

/// How often a tail that broke off is opened again, and how long the first pause is.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Show what a Worker logs, as it happens
#[derive(Args)]
pub(crate) struct Arguments {
    /// The Worker's name; without one, the project's
    worker: Option<String>,
    /// How events are shown [default: pretty on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Only events that ended so; may be given several times
    #[arg(long, value_name = "STATUS")]
    status: Vec<Ended>,
    /// Only requests with this method; may be given several times
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Only a share of the events: above 0, up to 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sampling_rate: Option<f64>,
    /// Only events that logged this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only requests with this header, or with this text in it
    #[arg(long, value_name = "NAME[:TEXT]")]
    header: Option<String>,
    /// Only requests from this address; "self" is your own; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<String>,
    /// Only events that this version handled
    #[arg(long, value_name = "VERSION")]
    version_id: Option<String>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Pretty,
    /// For programs: one document on each line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ended {
    Ok,
    Error,
    Canceled,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "it must be above 0, up to 1: 0.1 is a tenth of the events".to_owned())
}

impl Arguments {
    fn filters(&self, version: Option<&Version>) -> Filters {
        let status = |ended: &Ended| match ended {
            Ended::Ok => Status::Ok,
            Ended::Error => Status::Error,
            Ended::Canceled => Status::Canceled,
        };
        // As with wrangler, an empty text is no filter.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let header = given(&self.header).map(|header| match header.split_once(':') {
            Some((name, text)) => (name.trim().to_owned(), Some(text.trim().to_owned())),
            None => (header.trim().to_owned(), None),
        });
        Filters {
            sampling_rate: self.sampling_rate,
            status: self.status.iter().map(status).collect(),
            methods: self.method.iter().map(|method| method.to_uppercase()).collect(),
            header,
            ips: self.ip.clone(),
            search: given(&self.search),
            version: version.map(|version| version.id.clone()),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let is_json = arguments.connection.json
        || arguments.format.map_or_else(|| !output::is_watched(), |format| format == Format::Json);
    block_on(async {
        let worker = match &arguments.worker {
            Some(worker) => worker.clone(),
            None => arguments.selection.worker()?,
        };
        let api = arguments.connection.api().await?;
        // A platform opens tails of Workers that do not exist, too.
        api.worker_address(&worker).await?;
        let version = match &arguments.version_id {
            Some(wanted) => Some(api.find_version(&worker, wanted).await?),
            None => None,
        };
        let filters = arguments.filters(version.as_ref());
        let mut open = None;
        let ended = tokio::select! {
            ended = follow(&api, &worker, &filters, is_json, &mut open) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
        if let Some(tail) = open {
            // Where it cannot be told, it expires by itself.
            let _ = tail.close().await;
        }
        ended
    })
}

/// Prints events, and opens the tail again if it breaks off. What is open is in `open`, for who ends this.
async fn follow(api: &Api, worker: &str, filters: &Filters, is_json: bool, open: &mut Option<Tail>) -> Outcome {
    let (mut tries, mut pause) = (0, PAUSE);
    loop {
        let broken = match api.tail(worker, filters).await {
            Ok(tail) => {
                if tries == 0 {
                    output::warning(&format!("Connected to {worker}: waiting for events; Ctrl-C ends it"));
                }
                let tail = open.insert(tail);
                match events(tail, is_json, &mut tries).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                }
            }
            // What was refused is refused again, and who never got through has a wrong address.
            Err(error) if tries == 0 || error.code().is_some() => return Err(error.into()),
            Err(error) => error,
        };
        if let Some(tail) = open.take() {
            // It has broken off already.
            let _ = tail.close().await;
        }
        if tries >= TRIES {
            return Err(broken.into());
        }
        output::warning(&format!("warning: {broken}. Connecting again"));
        tokio::time::sleep(pause).await;
        (tries, pause) = (tries + 1, pause * 2);
    }
}

async fn events(tail: &mut Tail, is_json: bool, tries: &mut u32) -> Result<(), Error> {
    while let Some(event) = tail.next().await? {
        // What brings events is in order again.
        *tries = (*tries).min(1);
        match is_json {
            true => output::document(&event),
            false => pretty(&event).iter().for_each(|line| output::line(line)),
        }
    }
    Ok(())
}
