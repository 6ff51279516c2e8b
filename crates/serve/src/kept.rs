//! What becomes of events that were gathered, beside being shown: they are kept, handed to other Workers, and told as traces.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use skep_logs::{Entry, Level, Limits, Logs};
use skep_observe::{Level as Loudness, Told, Trigger};

use skep_telemetry::Exporter;

use crate::settings::LogSettings;
use crate::{ServeError, Settings, Tell};

/// The folder of what is kept, in the data directory.
const FOLDER: &str = "logs";

/// Opens the logs, if any are to be kept.
pub(crate) fn open(settings: &Settings, tell: &Tell) -> Result<Option<Logs>, ServeError> {
    let LogSettings { bytes, keep, .. } = settings.logs;
    if bytes == 0 {
        return Ok(None);
    }
    let folder = settings.data_dir.join(FOLDER);
    let tell = Arc::clone(tell);
    let opened = Logs::open(&folder, Limits { bytes, keep }, move |message| tell(message));
    opened.map(Some).map_err(|source| ServeError::File { path: folder.display().to_string(), source })
}

/// What sends traces, if they are wanted.
pub(crate) fn exporter(settings: &Settings, tell: &Tell) -> Result<Option<Arc<Exporter>>, ServeError> {
    let Some(config) = &settings.traces else { return Ok(None) };
    Ok(Some(Arc::new(Exporter::start(config.clone(), Arc::clone(tell))?)))
}

/// An event as it is kept, if it is.
pub(crate) fn entry(told: &Told<'_>) -> Option<Entry> {
    let record = told.record;
    let details = record.details.as_deref().filter(|details| details.interval > 0)?;
    let (method, status) = match &record.trigger {
        Trigger::Fetch { method, status, .. } => (Some(method.to_string()), *status),
        _ => (None, None),
    };
    let ray = details.headers.get("cf-ray").and_then(|ray| ray.to_str().ok()).unwrap_or_default();
    let at = record.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Some(Entry {
        account: told.account.into(),
        worker: Arc::clone(&told.source.worker),
        version: Arc::clone(&told.source.version),
        ray: ray.to_owned(),
        at: i64::try_from(at).unwrap_or(i64::MAX),
        kind: record.trigger.event(),
        method,
        what: told.what(),
        status,
        outcome: record.outcome,
        level: details.logs.iter().map(|line| level(line.level)).max(),
        cpu_us: u64::try_from(record.cpu.as_micros()).unwrap_or(u64::MAX),
        wall_us: u64::try_from(record.wall.as_micros()).unwrap_or(u64::MAX),
        cold: details.cold,
        interval: details.interval,
        event: told.text().to_owned(),
    })
}

const fn level(loudness: Loudness) -> Level {
    match loudness {
        Loudness::Debug => Level::Debug,
        Loudness::Info => Level::Info,
        Loudness::Log => Level::Log,
        Loudness::Warn => Level::Warn,
        Loudness::Error => Level::Error,
    }
}
