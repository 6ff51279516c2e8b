//! Who delivers: a task for each destination, which sends one item after the other and waits when that does not work.

use std::sync::Arc;
use std::time::Duration;

use skep_outbound::Backoff;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::log::Record;
use super::queue::{Entry, Failure};
use super::{Outbox, OutboxError, now};
use crate::senders::{Sender, Senders, Tell, Verdict};

/// The task of one destination.
struct Worker {
    outbox: Arc<Outbox>,
    destination: String,
    sender: Sender,
    news: Arc<Notify>,
    hurry: Arc<Notify>,
    teller: Teller,
    backoff: Backoff,
    /// Why the last try failed.
    reason: Option<String>,
}

/// Says what happens, at most once in a while. What is said meanwhile is held back, the last of it.
struct Teller {
    tell: Tell,
    pause: Duration,
    next: Instant,
    held: Option<String>,
    /// How many sentences were lost since the last one that was told.
    lost: u64,
}

impl Outbox {
    /// Delivers what is there and what comes, until the future is dropped. What is under way then is sent again by the next one, with the same
    /// key. Items of destinations that nobody configured wait.
    pub async fn run(self: Arc<Self>, senders: Senders) {
        let Senders { senders, tell } = senders;
        if self.damaged > 0 {
            let file = self.folder.join("outbox.damaged");
            tell(&format!(
                "records of the outbox that cannot be read: {}; they are in {}",
                self.damaged,
                file.display()
            ));
        }
        for waiting in self.waiting().iter().filter(|waiting| !senders.contains_key(&waiting.destination)) {
            let (items, name) = (waiting.items + waiting.failed, &waiting.destination);
            tell(&format!(
                "\"{name}\" is no destination, and items wait for it ({items}): configure it, and they are sent"
            ));
        }
        let mut tasks = JoinSet::new();
        for (destination, sender) in senders {
            let (news, hurry) = {
                let mut inner = self.lock();
                let queue = inner.state.queue(&destination);
                (queue.news.clone(), queue.hurry.clone())
            };
            let teller =
                Teller { tell: tell.clone(), pause: self.limits.tell, next: Instant::now(), held: None, lost: 0 };
            let (outbox, backoff) = (self.clone(), Backoff::default());
            tasks.spawn(Worker { outbox, destination, sender, news, hurry, teller, backoff, reason: None }.run());
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        // Nobody sends anything here.
        std::future::pending().await
    }

    /// The first item of a destination, and how many alerts were dropped there.
    pub(super) fn first(&self, destination: &str) -> (Option<Entry>, u64) {
        let mut inner = self.lock();
        let queue = inner.state.queue(destination);
        (queue.waiting.front().cloned(), std::mem::take(&mut queue.dropped))
    }

    /// The next item waits for a moment, as the last try failed; or it does not.
    fn late(&self, destination: &str, late: Option<Failure>) {
        self.lock().state.queue(destination).late = late;
    }

    /// Writes down what became of an item. Where that cannot be written, it is so as long as the process lives: what was delivered is not sent
    /// again before the next start.
    pub(super) fn settle(&self, record: Record) -> Result<(), OutboxError> {
        let mut inner = self.lock();
        let records = vec![record];
        let appended = inner.log.append(&records).map_err(|source| super::io_error(&self.folder, source));
        self.apply(&mut inner, records);
        appended
    }
}

// === impl Worker ===

impl Worker {
    async fn run(mut self) {
        loop {
            let (first, dropped) = self.outbox.first(&self.destination);
            if dropped > 0 {
                let name = &self.destination;
                self.teller
                    .say(format!("the queue for \"{name}\" is full: the oldest alerts were dropped ({dropped})"));
            }
            match first {
                Some(entry) => self.deliver(entry).await,
                None => self.idle().await,
            }
        }
    }

    /// Waits for an item. What was held back is told when its time comes.
    async fn idle(&mut self) {
        match self.teller.due() {
            None => self.news.notified().await,
            Some(due) => tokio::select! {
                () = self.news.notified() => {}
                () = sleep_until(due) => self.teller.tell_held(),
            },
        }
    }

    /// Waits before the next try, unless somebody wants it now.
    async fn pause(&mut self, pause: Duration, reason: String) {
        let (until, hurry) = (Instant::now() + pause, self.hurry.clone());
        let hurried = hurry.notified();
        tokio::pin!(hurried);
        // Before anybody can see that there is somebody to hurry.
        hurried.as_mut().enable();
        let at = now().saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        self.outbox.late(&self.destination, Some(Failure { reason, at }));
        loop {
            let due = self.teller.due().filter(|due| *due < until);
            tokio::select! {
                () = &mut hurried => {
                    // What was wrong may be mended: if not, it is tried as often as at first.
                    self.backoff.succeeded();
                    return;
                }
                () = sleep_until(due.unwrap_or(until)) => match due {
                    Some(_) => self.teller.tell_held(),
                    None => return,
                },
            }
        }
    }

    /// Tries to deliver an item once, unless it is too old.
    async fn deliver(&mut self, entry: Entry) {
        let limits = self.outbox.limits;
        let age = Duration::from_millis(now().saturating_sub(entry.at));
        let most = if entry.item.is_alert() { limits.alert_age } else { limits.usage_age };
        if age > most {
            let last = self.reason.clone().unwrap_or_else(|| "it was not tried since the last start".to_owned());
            return self.fail(&entry, format!("it could not be delivered within {}: {last}", span(most))).await;
        }
        let sent = tokio::time::timeout(limits.timeout, self.sender.send(&entry.item.message, &entry.id)).await;
        match sent.unwrap_or_else(|_| Verdict::later(format!("it did not answer within {}", span(limits.timeout)))) {
            Verdict::Delivered => self.delivered(&entry).await,
            Verdict::Never { reason } => {
                self.backoff.succeeded();
                self.fail(&entry, reason).await;
            }
            Verdict::Later { reason, wait } => {
                let pause = self.backoff.failed(&limits.pauses(), wait);
                let (name, pauses) = (&self.destination, span(pause));
                self.teller.say(format!("\"{name}\" takes nothing now: {reason}; the next try is in {pauses}"));
                self.reason = Some(reason.clone());
                self.pause(pause, reason).await;
            }
        }
    }

    async fn delivered(&mut self, entry: &Entry) {
        self.backoff.succeeded();
        if self.reason.take().is_some() {
            self.outbox.late(&self.destination, None);
            self.teller.say(format!("\"{}\" takes what is sent to it again", self.destination));
        }
        let (destination, number) = (self.destination.clone(), entry.number);
        self.settle(Record::Sent { destination, number, at: now() }).await;
    }

    async fn fail(&mut self, entry: &Entry, reason: String) {
        self.outbox.late(&self.destination, None);
        let what = if entry.item.is_alert() { "an alert" } else { "a usage event" };
        let name = &self.destination;
        self.teller.say(format!("{what} will not reach \"{name}\": {reason}; it is kept as failed ({})", entry.id));
        let (destination, number) = (self.destination.clone(), entry.number);
        self.settle(Record::Failed { destination, number, at: now(), reason }).await;
    }

    async fn settle(&mut self, record: Record) {
        let outbox = self.outbox.clone();
        let settled = spawn_blocking(move || outbox.settle(record)).await;
        if let Ok(Err(error)) = settled {
            self.teller.say(error.to_string());
        }
    }
}

// === impl Teller ===

impl Teller {
    fn say(&mut self, sentence: String) {
        self.lost += u64::from(self.held.replace(sentence).is_some());
        if Instant::now() >= self.next {
            self.tell_held();
        }
    }

    fn tell_held(&mut self) {
        let Some(sentence) = self.held.take() else { return };
        match std::mem::take(&mut self.lost) {
            0 => (self.tell)(&sentence),
            lost => (self.tell)(&format!("{sentence} ({lost} more before that)")),
        }
        self.next = Instant::now() + self.pause;
    }

    /// When what is held back may be told, if something is.
    fn due(&self) -> Option<Instant> {
        self.held.as_ref().map(|_| self.next)
    }
}

/// A time as people read it.
fn span(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
