//! Isolates that are made from the snapshot and wait for a version: most of a start is done before it is needed.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use skep_web::services::Services;
use tokio::sync::{mpsc, oneshot};

use crate::blank::Build;
use crate::life::Life;
use crate::line::Line;
use crate::loopback::Loopback;
use crate::queue::Queue;
use crate::thread::{self, Assignment, Started};
use crate::{Handle, Isolate, MOST_WAITING, Options, Permit, StartError};

/// An isolate without a version, on a thread of its own. Dropping it ends both.
pub struct Spare {
    build: Build,
    made: oneshot::Receiver<()>,
    assign: oneshot::Sender<Assignment>,
    life: Arc<Life>,
}

impl Spare {
    /// Begins to make an isolate for versions that may have this much memory, in bytes. The permit to make it is dropped when it is made.
    ///
    /// # Errors
    /// When there is no room for a thread.
    pub fn start(memory: usize, making: Option<Permit>) -> Result<Self, StartError> {
        Self::build(Build { memory, inspector: false }, making)
    }

    /// Begins to make an isolate that a version can be loaded into. The permit to make it is dropped when it is made.
    ///
    /// # Errors
    /// When there is no room for a thread.
    pub fn start_for(options: &Options, making: Option<Permit>) -> Result<Self, StartError> {
        Self::build(Build::of(options), making)
    }

    fn build(build: Build, making: Option<Permit>) -> Result<Self, StartError> {
        let ((made, when_made), (assign, assignment)) = (oneshot::channel(), oneshot::channel());
        let life = Arc::new(Life::default());
        thread::spawn(build, making, made, assignment, Arc::clone(&life))?;
        Ok(Self { build, made: when_made, assign, life })
    }

    /// Waits until the isolate is made.
    pub async fn made(&mut self) {
        // A thread that ended says the same.
        let _ = (&mut self.made).await;
    }

    /// Whether a version can be loaded into it.
    pub fn fits(&self, options: &Options) -> bool {
        self.build == Build::of(options)
    }

    /// Loads a version.
    ///
    /// # Errors
    /// When the version's code throws, exceeds a limit, or the isolate could not be made.
    pub async fn claim(self, options: Options) -> Result<Isolate, StartError> {
        self.claim_for(options, None, None).await
    }

    /// Loads a version whose events may wait in a line. The permit is dropped when the isolate's thread ends.
    pub(crate) async fn claim_for(
        self,
        options: Options,
        line: Option<Arc<Line>>,
        permit: Option<Permit>,
    ) -> Result<Isolate, StartError> {
        let (commands, receiver) = mpsc::channel(MOST_WAITING);
        let (started, when_started) = oneshot::channel();
        let (life, own) = (self.life, Arc::new(OnceLock::new()));
        let queue = Queue::new(receiver, Arc::default(), line);
        let (observer, version) = (Arc::clone(&options.observer), Arc::clone(&options.version));
        let loopback = Loopback::new(&version.worker, Arc::clone(&options.services), Arc::clone(&own));
        let services = Arc::new(loopback) as Arc<dyn Services>;
        let ended = || StartError::Thread("the isolate's thread ended while it started".to_owned());
        let (assigned, its) = (Arc::clone(&queue), Arc::clone(&own));
        let assignment = Assignment { options, services, queue: assigned, own: its, permit, started };
        self.assign.send(assignment).map_err(|_| ended())?;
        let Started { handlers, inspector, startup_cpu, code, guard } = tokio::select! {
            started = when_started => started.map_err(|_| ended())??,
            exceeded = life.lost() => return Err(StartError::Limit(exceeded)),
        };
        let handle = Arc::new(Handle {
            commands,
            queue,
            guard,
            life,
            next_event: AtomicU32::new(1),
            handlers,
            inspector,
            startup_cpu,
            code,
            observer,
            version,
        });
        // It starts once.
        let _ = own.set(Arc::downgrade(&handle));
        Ok(Isolate(handle))
    }
}
