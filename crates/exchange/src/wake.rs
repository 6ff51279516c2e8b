//! Wakes that cross threads, gathered.
//!
//! To wake a task of another thread takes a system call, and often a switch of threads right in the middle of what the
//! waker was doing. A thread that wakes many such tasks in a row gathers the wakes ([`gather`]) and hands them out when it
//! has nothing else to do, and at the latest with the first [`flush_if_due`] after [`LONGEST`]. On the other side a [`Hub`]
//! takes all wakes of one thread with one call. Only futures in [`crossing`] take part; all others wake as ever.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// How long a wake may be held back by a thread that is busy.
pub const LONGEST: Duration = Duration::from_micros(200);

thread_local! {
    static GATHERED: RefCell<Gathered> = const { RefCell::new(Gathered { depth: 0, since: None, wakes: Vec::new() }) };
    static HUB: RefCell<Option<Arc<Hub>>> = const { RefCell::new(None) };
}

struct Gathered {
    /// How many [`Gathering`]s there are.
    depth: usize,
    /// When the first of the wakes came.
    since: Option<Instant>,
    wakes: Vec<Arc<CrossingWaker>>,
}

/// While this lives, its thread gathers wakes.
#[derive(Debug)]
pub struct Gathering(PhantomData<*const ()>);

/// Has the calling thread gather the wakes of other threads' tasks. Who calls this must call [`flush`] before the thread
/// waits for anything.
#[must_use]
pub fn gather() -> Gathering {
    GATHERED.with_borrow_mut(|gathered| gathered.depth += 1);
    Gathering(PhantomData)
}

impl Drop for Gathering {
    fn drop(&mut self) {
        GATHERED.with_borrow_mut(|gathered| gathered.depth -= 1);
        flush();
    }
}

/// Hands out the wakes that the calling thread has gathered.
pub fn flush() {
    let wakes = GATHERED.with_borrow_mut(|gathered| {
        gathered.since = None;
        std::mem::take(&mut gathered.wakes)
    });
    let mut hubs: Vec<&Arc<Hub>> = Vec::new();
    for wake in &wakes {
        match &wake.hub {
            Some(hub) => {
                hub.push(wake.task.clone());
                if !hubs.iter().any(|known| Arc::ptr_eq(known, hub)) {
                    hubs.push(hub);
                }
            }
            None => wake.task.wake_by_ref(),
        }
    }
    for hub in hubs {
        hub.driver.wake();
    }
}

/// Hands out the gathered wakes if one of them has waited for [`LONGEST`].
pub fn flush_if_due() {
    if GATHERED.with_borrow(|gathered| gathered.since.is_some_and(|since| since.elapsed() > LONGEST)) {
        flush();
    }
}

/// Takes the wakes that other threads have for the tasks of one thread.
#[derive(Debug, Default)]
pub struct Hub {
    waiting: Mutex<Vec<Waker>>,
    driver: AtomicWaker,
}

impl Hub {
    /// Makes the calling thread's tasks wakeable together. The future must run on this thread, as long as the tasks do; it
    /// never ends.
    pub fn run() -> impl Future<Output = ()> + Send {
        let hub = Arc::new(Self::default());
        HUB.set(Some(Arc::clone(&hub)));
        std::future::poll_fn(move |context| {
            hub.driver.register(context.waker());
            let waiting = std::mem::take(&mut *hub.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for task in waiting {
                task.wake();
            }
            Poll::Pending
        })
    }

    fn push(&self, task: Waker) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// Wakes a task of another thread.
struct CrossingWaker {
    task: Waker,
    /// The hub of the thread that the task was last polled on.
    hub: Option<Arc<Hub>>,
}

impl Wake for CrossingWaker {
    fn wake(self: Arc<Self>) {
        let at_home = self
            .hub
            .as_ref()
            .is_some_and(|hub| HUB.with_borrow(|own| own.as_ref().is_some_and(|own| Arc::ptr_eq(own, hub))));
        if at_home {
            self.task.wake_by_ref();
            return;
        }
        let left = GATHERED.with_borrow_mut(|gathered| {
            if gathered.depth == 0 {
                return Some(self);
            }
            gathered.since.get_or_insert_with(Instant::now);
            gathered.wakes.push(self);
            None
        });
        if let Some(own) = left {
            match &own.hub {
                Some(hub) => {
                    hub.push(own.task.clone());
                    hub.driver.wake();
                }
                None => own.task.wake_by_ref(),
            }
        }
    }
}

/// Makes the wakers that a task leaves with other threads, and remembers the last one.
#[derive(Debug, Default)]
pub struct CrossingContext(Option<(Waker, Waker)>);

impl CrossingContext {
    /// The waker to leave with another thread in place of the task's own.
    pub fn waker(&mut self, context: &Context<'_>) -> &Waker {
        let known = self.0.take().filter(|(task, _)| task.will_wake(context.waker()));
        let (_, crossing) = self.0.insert(known.unwrap_or_else(|| {
            let task = context.waker().clone();
            let hub = HUB.with_borrow(Clone::clone);
            (task.clone(), Waker::from(Arc::new(CrossingWaker { task, hub })))
        }));
        crossing
    }
}

/// A future that another thread will wake.
#[derive(Debug)]
pub struct Crossing<F> {
    future: F,
    context: CrossingContext,
}

/// Marks a future as one that another thread will wake.
pub fn crossing<F: Future + Unpin>(future: F) -> Crossing<F> {
    Crossing { future, context: CrossingContext::default() }
}

impl<F: Future + Unpin> Future for Crossing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let waker = this.context.waker(context);
        Pin::new(&mut this.future).poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::{CrossingContext, Hub, flush, gather};

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn waker() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    fn crossing(task: &Waker) -> Waker {
        CrossingContext::default().waker(&Context::from_waker(task)).clone()
    }

    #[test]
    fn wakes_are_handed_out_when_the_thread_says_so() {
        let (woken, task) = waker();
        let crossing = crossing(&task);
        crossing.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "a thread that does not gather wakes at once");
        let gathering = gather();
        crossing.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        flush();
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        crossing.wake_by_ref();
        drop(gathering);
        assert_eq!(woken.0.load(Ordering::SeqCst), 3, "none is lost when the thread stops gathering");
    }

    #[test]
    fn a_hub_is_woken_once_for_many_tasks() {
        let (driver_woken, driver) = waker();
        let tasks: Vec<_> = (0..10).map(|_| waker()).collect();
        let mut hub = Box::pin(Hub::run());
        assert!(hub.as_mut().poll(&mut Context::from_waker(&driver)).is_pending());
        let wakers: Vec<Waker> = tasks.iter().map(|(_, task)| crossing(task)).collect();
        let sender = move || {
            let _gathering = gather();
            wakers.iter().for_each(Waker::wake_by_ref);
        };
        std::thread::spawn(sender).join().unwrap();
        assert_eq!(driver_woken.0.load(Ordering::SeqCst), 1);
        assert!(tasks.iter().all(|(woken, _)| woken.0.load(Ordering::SeqCst) == 0));
        assert!(hub.as_mut().poll(&mut Context::from_waker(&driver)).is_pending());
        assert!(tasks.iter().all(|(woken, _)| woken.0.load(Ordering::SeqCst) == 1));
    }
}
