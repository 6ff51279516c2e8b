//! The watchdog: one thread that interrupts an isolate whose turn takes long.
//!
//! An isolate's thread marks when a turn of JavaScript begins and ends ([`Watch::begin_turn`], [`Watch::end_turn`]). The
//! watchdog looks at the CPU clock of each thread that is in a turn, every few milliseconds and not later than the turn's
//! budget runs out, and asks V8 for an interrupt. What an interrupt does is [`crate::limits`]'s business. While no isolate
//! runs, the watchdog sleeps; the first turn wakes it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use deno_core::v8;

use crate::limits::{self, Guard};
use crate::queue::{self, Queue};

/// How often an isolate that is in a turn is looked at.
const TICK: Duration = Duration::from_millis(5);
/// How soon an isolate is looked at again whose budget is nearly used up.
const SHORTEST_TICK: Duration = Duration::from_micros(500);
/// How long V8 may take for an interrupt after the budget has run out. Some of its functions allow no interrupt, but can be
/// terminated.
const GRACE: Duration = Duration::from_millis(4);
/// CPU time that a stopped turn may go on before its thread is given up.
const LOST_AFTER: Duration = Duration::from_millis(250);
/// CPU time from which a turn is no longer short.
const SHORT_TURN: Duration = Duration::from_micros(500);
/// Turns in a row after which a thread is taken for as quick as they were, if it had none that was slower in this time: a Worker with
/// quick turns between long ones would else begin each of the long ones before everybody else.
const PROOF: u32 = 4;
const CALM: Duration = Duration::from_secs(1);
/// Ticks without any turn after which the watchdog goes to sleep.
const IDLE_TICKS: u32 = 20;

/// A clock of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock(libc::clockid_t);

impl Clock {
    /// Goes on at one pace, whatever the time of day is set to.
    pub(crate) const MONOTONIC: Self = Self(libc::CLOCK_MONOTONIC);

    /// The CPU clock of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        let mut clock = 0;
        // SAFETY: the calling thread exists, and `clock` is a place for the answer. It cannot fail for the calling thread.
        unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        Self(clock)
    }

    /// What it shows, in nanoseconds. Zero if its thread is gone.
    pub(crate) fn now(self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a place for the answer; a clock of a thread that is gone is an error, not undefined.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            return 0;
        }
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }
}

/// What the watchdog knows of one isolate.
pub(crate) struct Watch {
    clock: Clock,
    thread: libc::c_long,
    isolate: v8::IsolateHandle,
    guard: Arc<Guard>,
    /// Those who wait for the isolate.
    queue: Arc<Queue>,
    /// CPU time at which the turn began, 0 between turns.
    turn: AtomicU64,
    /// CPU time at which the turn's budget runs out.
    deadline: AtomicU64,
    /// An interrupt was asked for and has not run yet.
    pending: AtomicBool,
    /// How long the thread's turns take, a [`Pace`]: who takes long lets others go first.
    pace: AtomicU8,
    /// Turns in a row that were quicker than that.
    quicker: AtomicU32,
    /// When the last turn ended that was not, 0 if there was none.
    slow: AtomicU64,
    /// CPU time at which the turn was first seen to go on after it was stopped, 0 if it was not.
    stopped: AtomicU64,
}

impl Watch {
    /// Has the watchdog look after the calling thread's isolate, as long as the result lives.
    pub(crate) fn start(isolate: v8::IsolateHandle, guard: Arc<Guard>, queue: Arc<Queue>) -> Arc<Self> {
        let watch = Arc::new(Self {
            clock: Clock::of_this_thread(),
            thread: this_thread(),
            isolate,
            guard,
            queue,
            turn: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            // Until it has shown its pace: see `give_way`.
            pace: AtomicU8::new(Pace::Long as u8),
            quicker: AtomicU32::new(0),
            slow: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
        });
        WATCHDOG.add(&watch);
        watch
    }

    /// The isolate's CPU clock.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// A turn begins at this CPU time and may last until that.
    pub(crate) fn begin_turn(&self, now: u64, deadline: u64) {
        self.deadline.store(deadline, Ordering::Relaxed);
        self.pending.store(false, Ordering::Relaxed);
        self.turn.store(now.max(1), Ordering::Release);
        if WATCHDOG.asleep.load(Ordering::Acquire) {
            WATCHDOG.wake();
        }
    }

    /// The budget of the turn that runs changes.
    pub(crate) fn extend(&self, deadline: u64) {
        self.deadline.store(deadline, Ordering::Relaxed);
        self.pending.store(false, Ordering::Release);
    }

    /// The turn is over. `spent`: the most CPU time that one piece of it took.
    pub(crate) fn end_turn(&self, spent: Duration) {
        self.turn.store(0, Ordering::Release);
        // What is left to do after a stop is no hurry.
        let pace = if self.guard.is_stopped() { Pace::Long } else { Pace::of(spent) };
        let before = self.pace.load(Ordering::Relaxed);
        if pace as u8 >= before {
            self.quicker.store(0, Ordering::Relaxed);
            if !matches!(pace, Pace::Short) {
                self.slow.store(queue::now(), Ordering::Relaxed);
            }
            if pace as u8 > before {
                self.set_pace(pace);
            }
        } else if self.quicker.fetch_add(1, Ordering::Relaxed) + 1 >= PROOF && self.is_calm() {
            self.set_pace(pace);
        }
    }

    fn is_calm(&self) -> bool {
        let slow = self.slow.load(Ordering::Relaxed);
        slow == 0 || queue::now().saturating_sub(slow) >= nanoseconds(CALM)
    }

    /// Does what takes long and is no turn, on the isolate's own thread: everybody else goes first meanwhile.
    pub(crate) fn behind_others(&self, work: impl FnOnce()) {
        Pace::Long.apply(self.thread);
        work();
        Pace::from(self.pace.load(Ordering::Relaxed)).apply(self.thread);
    }

    fn set_pace(&self, pace: Pace) {
        if self.pace.swap(pace as u8, Ordering::Relaxed) != pace as u8 {
            pace.apply(self.thread);
        }
        self.quicker.store(0, Ordering::Relaxed);
    }

    /// Interrupts the turn if it takes long. Gives when to look again, or nothing between turns.
    fn check(&self) -> Option<Duration> {
        let turn = self.turn.load(Ordering::Acquire);
        if turn == 0 {
            return None;
        }
        self.queue.relieve();
        let now = self.clock.now();
        if self.guard.is_stopped() {
            self.stop_again(now);
            return Some(TICK);
        }
        let long = turn.saturating_add(nanoseconds(TICK));
        let due = self.deadline.load(Ordering::Relaxed).min(long);
        if now < due {
            return Some(Duration::from_nanos(due - now).clamp(SHORTEST_TICK, TICK));
        }
        if now >= long {
            self.set_pace(Pace::Long);
        }
        if !self.pending.swap(true, Ordering::AcqRel) {
            // The guard outlives the isolate, whose thread owns it, and an interrupt runs on that thread or never.
            self.isolate.request_interrupt(limits::on_interrupt, Arc::as_ptr(&self.guard).cast_mut().cast());
        }
        let deadline = self.deadline.load(Ordering::Relaxed);
        if now > deadline.saturating_add(nanoseconds(GRACE)) {
            self.guard.stop_for_cpu(Duration::from_nanos(now - turn));
        }
        Some(Duration::from_nanos(deadline.saturating_sub(now)).clamp(SHORTEST_TICK, TICK))
    }

    /// A turn that was stopped goes on: another piece of JavaScript began before the thread had unwound, or V8 is in a
    /// function that cannot be interrupted.
    fn stop_again(&self, now: u64) {
        self.isolate.terminate_execution();
        let since = match self.stopped.load(Ordering::Relaxed) {
            0 => {
                self.stopped.store(now.max(1), Ordering::Relaxed);
                now
            }
            since => since,
        };
        if now.saturating_sub(since) > nanoseconds(LOST_AFTER) && self.guard.lose() {
            lower_priority(self.thread);
        }
    }
}

/// How long the turns of a thread take.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Pace {
    Short,
    Medium,
    Long,
}

impl From<u8> for Pace {
    fn from(pace: u8) -> Self {
        [Self::Short, Self::Medium].into_iter().find(|one| *one as u8 == pace).unwrap_or(Self::Long)
    }
}

impl Pace {
    fn of(spent: Duration) -> Self {
        match spent {
            spent if spent < SHORT_TURN => Self::Short,
            spent if spent < TICK => Self::Medium,
            _ => Self::Long,
        }
    }

    /// Has Linux schedule a thread for it: the longer the turns, the longer the slice and the lower the priority. A thread
    /// with a longer slice gets as much CPU time as before, but one with a shorter slice that wakes up goes first, and need
    /// not wait until it is over; the priority has it go first soon again. Linux's own slice is 0.7 to 2.8 ms. The slice needs
    /// Linux 6.12, the priority a privilege, as it is raised again: without them nothing changes.
    fn apply(self, thread: libc::c_long) {
        let (slice, nice) = match self {
            Self::Short => (Duration::ZERO, 0),
            Self::Medium => (Duration::from_millis(6), 2),
            Self::Long => (Duration::from_millis(20), 10),
        };
        let attributes = SchedulingAttributes {
            size: u32::try_from(size_of::<SchedulingAttributes>()).unwrap_or(0),
            nice: if *MAY_RAISE { nice } else { 0 },
            runtime: nanoseconds(slice),
            ..SchedulingAttributes::default()
        };
        // SAFETY: the kernel reads as many bytes as `size` says; a refusal, and a thread that is gone, are error codes.
        unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attributes, 0) };
    }
}

/// Whether this process may raise a thread's priority: as root, or with `RLIMIT_NICE`.
static MAY_RAISE: LazyLock<bool> = LazyLock::new(|| {
    let trial = std::thread::spawn(|| {
        let thread = this_thread();
        lower_priority(thread);
        set_priority(thread, 0)
    });
    trial.join().unwrap_or(false)
});

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

struct Watchdog {
    asleep: AtomicBool,
    watched: Mutex<Vec<Weak<Watch>>>,
    bell: Condvar,
}

static WATCHDOG: LazyLock<Watchdog> = LazyLock::new(|| {
    std::thread::Builder::new()
        .name("skep-watchdog".to_owned())
        .spawn(|| WATCHDOG.run())
        .expect("the machine has room for one more thread");
    Watchdog { asleep: AtomicBool::new(false), watched: Mutex::default(), bell: Condvar::new() }
});

impl Watchdog {
    fn add(&self, watch: &Arc<Watch>) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(watch));
    }

    fn wake(&self) {
        // Under the lock, so that the bell cannot ring between the decision to sleep and the sleep.
        let _watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(false, Ordering::Release);
        self.bell.notify_one();
    }

    fn run(&self) {
        raise_priority();
        let mut idle = 0;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut soonest = None;
            watched.retain(|watch| {
                let Some(watch) = watch.upgrade() else { return false };
                let next = watch.check();
                soonest = [soonest, next].into_iter().flatten().min();
                true
            });
            idle = if soonest.is_some() { 0 } else { idle + 1 };
            if idle < IDLE_TICKS {
                let tick = soonest.unwrap_or(TICK);
                watched = self.bell.wait_timeout(watched, tick).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            // A turn that began before the store did not ring: look once more, then sleep.
            if watched.iter().filter_map(Weak::upgrade).all(|watch| watch.turn.load(Ordering::SeqCst) == 0) {
                watched = self
                    .bell
                    .wait_while(watched, |_| self.asleep.load(Ordering::Acquire))
                    .unwrap_or_else(PoisonError::into_inner);
            }
            self.asleep.store(false, Ordering::Release);
            idle = 0;
        }
    }
}

/// Asks for more CPU than the isolates get, so that a limit is noticed in time on a busy machine. Without the privilege
/// nothing changes.
fn raise_priority() {
    set_priority(this_thread(), -10);
}

/// Lets other threads go before the calling one and those that it starts. An isolate's has yet to show that its turns are
/// short.
pub(crate) fn give_way() {
    Pace::Long.apply(this_thread());
}

/// Lets threads that serve requests go before the calling one, and before those that it starts: these do not begin with the right of a
/// new thread to run at once.
pub(crate) fn let_requests_go_first() {
    Pace::Medium.apply(this_thread());
}

/// Ends [`give_way`] for the calling thread.
pub(crate) fn take_turns() {
    Pace::Short.apply(this_thread());
}

/// Whether priorities can be lowered for a while.
pub(crate) fn may_raise_priority() -> bool {
    *MAY_RAISE
}

fn this_thread() -> libc::c_long {
    // SAFETY: a plain system call that cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// `struct sched_attr` of Linux, for the policy `SCHED_OTHER`. <https://man7.org/linux/man-pages/man2/sched_setattr.2.html>
#[repr(C)]
#[derive(Default)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Leaves a thread only the CPU time that nobody else wants.
fn lower_priority(thread: libc::c_long) {
    set_priority(thread, 19);
}

/// Gives whether it was allowed.
fn set_priority(thread: libc::c_long, nice: libc::c_int) -> bool {
    let Ok(thread) = u32::try_from(thread) else { return false };
    // SAFETY: a plain system call; a refusal, and a thread that is gone, are error codes.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) == 0 }
}
