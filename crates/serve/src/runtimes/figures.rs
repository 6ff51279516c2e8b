//! What processes that run Workers have and do, as they said last.
//!
//! A process that hangs says nothing, and whoever asks must not hang with it: it is waited for a moment, and what it said before is told. It is asked
//! once at a time, however many want to know: what it is sent and does not read would pile up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skep_link::wire::Usage;
use tokio::sync::watch;

use crate::runtimes::{Runtime, lock};

/// How long a process may take to say how it does. Prometheus waits for 10 s by default, for everything.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What all processes have and do.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Added up. Of a process that did not answer, as it said last; what grows goes on from those that are gone.
    pub(crate) sum: Usage,
    /// How many processes there are.
    pub(crate) processes: usize,
    /// Those of them that did not answer, by the kernel's numbers.
    pub(crate) silent: Vec<u32>,
}

/// Where one process says it.
#[derive(Debug)]
pub(super) struct Question {
    /// It was asked and has not answered.
    is_asked: AtomicBool,
    /// The last answer. Nothing if that was none.
    answer: watch::Sender<Option<Usage>>,
}

/// What processes said last.
#[derive(Debug, Default)]
pub(super) struct Figures {
    living: HashMap<u64, Usage>,
    /// What those did that are gone.
    gone: Usage,
}

impl Question {
    pub(super) fn new() -> Self {
        Self { is_asked: AtomicBool::new(false), answer: watch::Sender::new(None) }
    }
}

/// Asks a process how it does. Nothing if it does not answer in time.
pub(super) async fn ask(runtime: &Arc<Runtime>) -> Option<Usage> {
    let mut answer = runtime.question().answer.subscribe();
    if !runtime.question().is_asked.swap(true, Ordering::AcqRel) {
        let runtime = Arc::clone(runtime);
        tokio::spawn(async move {
            let told = runtime.calls().call("usage", &()).await;
            let question = runtime.question();
            // In this order: who asks in between asks once more, and nobody waits for what was said already.
            question.is_asked.store(false, Ordering::Release);
            question.answer.send_replace(told.ok());
        });
    }
    // This holds the sender.
    tokio::time::timeout(PATIENCE, answer.changed()).await.ok()?.ok()?;
    *answer.borrow()
}

/// Waits for what is asked of each process. Those that do not answer in time are left out.
pub(super) async fn in_time<A>(questions: impl IntoIterator<Item = impl Future<Output = Option<A>>>) -> Vec<A> {
    let in_time = |question| async { tokio::time::timeout(PATIENCE, question).await.ok().flatten() };
    futures_util::future::join_all(questions.into_iter().map(in_time)).await.into_iter().flatten().collect()
}

impl Figures {
    /// A process is there.
    pub(super) fn begin(&mut self, process: u64) {
        self.living.insert(process, Usage::default());
    }

    /// It said something. What comes late from one that is gone was counted.
    pub(super) fn said(&mut self, process: u64, usage: Usage) {
        if let Some(last) = self.living.get_mut(&process) {
            *last = usage;
        }
    }

    /// It is gone, and what it did stays.
    pub(super) fn end(&mut self, process: u64) {
        if let Some(last) = self.living.remove(&process) {
            add(&mut self.gone, &last);
            // What is no more.
            (self.gone.versions, self.gone.isolates, self.gone.spares) = (0, 0, 0);
            (self.gone.waiting, self.gone.memory) = (0, 0);
        }
    }

    /// All of them together.
    pub(super) fn sum(&self) -> Usage {
        let mut sum = self.gone;
        self.living.values().for_each(|usage| add(&mut sum, usage));
        sum
    }
}

fn add(sum: &mut Usage, usage: &Usage) {
    sum.versions += usage.versions;
    sum.isolates += usage.isolates;
    sum.spares += usage.spares;
    sum.waiting += usage.waiting;
    sum.busy += usage.busy;
    sum.queued += usage.queued;
    sum.queue_delay += usage.queue_delay;
    sum.cold_starts += usage.cold_starts;
    sum.cold_start_time += usage.cold_start_time;
    sum.more_isolates += usage.more_isolates;
    sum.memory += usage.memory;
    sum.refused += usage.refused;
}

/// Asks all of these at once.
pub(super) async fn all(runtimes: &[Arc<Runtime>], figures: &Mutex<Figures>) -> Told {
    let asked = runtimes.iter().map(|runtime| async move { (runtime, ask(runtime).await) });
    let answers = futures_util::future::join_all(asked).await;
    let mut figures = lock(figures);
    let mut silent = Vec::new();
    for (runtime, answer) in answers {
        match answer {
            Some(usage) => figures.said(runtime.id(), usage),
            None => silent.extend(runtime.process()),
        }
    }
    Told { sum: figures.sum(), processes: runtimes.len(), silent }
}

#[cfg(test)]
mod tests {
    use skep_link::wire::Usage;

    use super::Figures;

    fn usage(cold_starts: u64, isolates: usize) -> Usage {
        Usage { cold_starts, isolates, ..Usage::default() }
    }

    #[test]
    fn what_was_done_is_counted_once_and_stays() {
        let mut figures = Figures::default();
        figures.begin(1);
        figures.said(1, usage(3, 2));
        figures.begin(2);
        figures.said(2, usage(1, 1));
        assert_eq!(figures.sum(), usage(4, 3));
        figures.end(1);
        assert_eq!(figures.sum(), usage(4, 1), "isolates are gone with their process");
        // Its last answer was under way.
        figures.said(1, usage(9, 9));
        figures.end(1);
        figures.said(2, usage(2, 1));
        assert_eq!(figures.sum(), usage(5, 1));
    }
}
