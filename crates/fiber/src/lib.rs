//! A function that can stop in the middle of a callback and go on later, on a stack of its own.
//!
//! `corosensei` does the work. What is added is a [`Suspender`] without a lifetime, so that callbacks which a library
//! wants to be `'static` can suspend too. It is checked instead: suspending anywhere but inside its own running fiber
//! panics. This is one of the two rooms with `unsafe` (the other is `isolate`).

use std::cell::Cell;
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

thread_local! {
    /// The identity of the innermost fiber that is running on this thread.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// What became of a fiber that was resumed.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress<Out, Return> {
    /// It suspended with a value and can be resumed.
    Suspended(Out),
    /// Its function returned.
    Done(Return),
}

/// A function on a stack of its own. Dropping it unwinds that stack.
pub struct Fiber<In: 'static, Out: 'static, Return: 'static> {
    coroutine: Coroutine<In, Out, Return>,
    suspender: Suspender<In, Out>,
}

/// Suspends the fiber it was made for, from anywhere inside of it.
pub struct Suspender<In: 'static, Out: 'static> {
    yielder: Rc<Cell<*const Yielder<In, Out>>>,
}

impl<In: 'static, Out: 'static, Return: 'static> Fiber<In, Out, Return> {
    /// Makes a fiber of a function. Nothing runs before the first [`Fiber::resume`], whose value the function gets.
    pub fn new(function: impl FnOnce(Suspender<In, Out>, In) -> Return + 'static) -> Self {
        let suspender = Suspender { yielder: Rc::new(Cell::new(std::ptr::null())) };
        let inside = suspender.clone();
        let coroutine = Coroutine::new(move |yielder: &Yielder<In, Out>, first| {
            inside.yielder.set(yielder);
            function(inside.clone(), first)
        });
        Self { coroutine, suspender }
    }

    /// Runs the fiber until it suspends or returns.
    ///
    /// # Panics
    /// When the function has returned already, and when the function panics.
    pub fn resume(&mut self, value: In) -> Progress<Out, Return> {
        let _running = Running::enter(self.suspender.identity());
        match self.coroutine.resume(value) {
            CoroutineResult::Yield(out) => Progress::Suspended(out),
            CoroutineResult::Return(result) => Progress::Done(result),
        }
    }

    /// Whether the function has returned.
    pub fn is_done(&self) -> bool {
        self.coroutine.done()
    }
}

impl<In: 'static, Out: 'static> Suspender<In, Out> {
    /// Stops the fiber with a value until it is resumed, and gives the value it is resumed with.
    ///
    /// # Panics
    /// When called anywhere but inside the fiber this suspender belongs to.
    pub fn suspend(&self, value: Out) -> In {
        assert_eq!(RUNNING.get(), self.identity(), "suspend() was called outside of its fiber");
        // SAFETY: the pointer was set to the fiber's own yielder, which lives as long as the fiber's function runs. That
        // function is running now, on this thread and innermost, as the assertion has shown: `RUNNING` holds this
        // identity only between the switch into the fiber and the switch out of it.
        unsafe { (*self.yielder.get()).suspend(value) }
    }

    fn identity(&self) -> usize {
        Rc::as_ptr(&self.yielder).addr()
    }
}

impl<In: 'static, Out: 'static> Clone for Suspender<In, Out> {
    fn clone(&self) -> Self {
        Self { yielder: Rc::clone(&self.yielder) }
    }
}

/// Marks a fiber as the innermost running one until it is dropped.
struct Running {
    outer: usize,
}

impl Running {
    fn enter(identity: usize) -> Self {
        Self { outer: RUNNING.replace(identity) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(self.outer);
    }
}

#[cfg(test)]
mod tests {
    use super::{Fiber, Progress};

    #[test]
    fn suspends_in_the_middle_and_goes_on() {
        let mut fiber = Fiber::new(|suspender, first: u32| {
            let second = suspender.suspend(first + 1);
            let third = suspender.suspend(second + 1);
            format!("{first} {second} {third}")
        });
        assert_eq!(fiber.resume(1), Progress::Suspended(2));
        assert_eq!(fiber.resume(10), Progress::Suspended(11));
        assert_eq!(fiber.resume(100), Progress::Done("1 10 100".to_owned()));
        assert!(fiber.is_done());
    }

    #[test]
    fn a_static_callback_can_suspend() {
        let mut fiber = Fiber::new(|suspender, first: u32| {
            let callback: Box<dyn Fn(u32) -> u32> = Box::new(move |value| suspender.suspend(value));
            callback(first) + callback(2)
        });
        assert_eq!(fiber.resume(1), Progress::Suspended(1));
        assert_eq!(fiber.resume(10), Progress::Suspended(2));
        assert_eq!(fiber.resume(20), Progress::Done(30));
    }

    #[test]
    fn fibers_interleave() {
        let make = |name: &'static str| Fiber::new(move |suspender, ()| suspender.suspend(name));
        let (mut left, mut right) = (make("left"), make("right"));
        assert_eq!(left.resume(()), Progress::Suspended("left"));
        assert_eq!(right.resume(()), Progress::Suspended("right"));
        assert_eq!(left.resume(()), Progress::Done(()));
        assert_eq!(right.resume(()), Progress::Done(()));
    }

    #[test]
    #[should_panic(expected = "outside of its fiber")]
    fn suspending_outside_panics() {
        let mut fiber = Fiber::<(), _, _>::new(|suspender: super::Suspender<(), ()>, ()| suspender);
        let Progress::Done(suspender) = fiber.resume(()) else { unreachable!("it never suspends") };
        suspender.suspend(());
    }

    #[test]
    #[should_panic(expected = "outside of its fiber")]
    fn suspending_an_outer_fiber_from_an_inner_one_panics() {
        let mut outer = Fiber::new(|outer: super::Suspender<(), ()>, ()| {
            let mut inner = Fiber::new(move |_: super::Suspender<(), ()>, ()| outer.suspend(()));
            inner.resume(());
        });
        outer.resume(());
    }

    #[test]
    fn dropping_a_suspended_fiber_drops_what_it_holds() {
        let held = std::rc::Rc::new(());
        let inside = held.clone();
        let mut fiber = Fiber::new(move |suspender, ()| {
            let _inside = inside;
            suspender.suspend(());
        });
        fiber.resume(());
        drop(fiber);
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
    }
}
