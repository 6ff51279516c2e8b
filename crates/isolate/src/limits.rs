//! Limits: what stops an isolate, and how it is remembered.
//!
//! CPU time: the watchdog asks V8 for an interrupt; in it the time since the last mark is charged to the event whose code
//! runs (V8 carries it along every promise), and if that event has used up its limit, execution is terminated. Memory:
//! buffers are allocated by [`BufferAllocator`], and after each full garbage collection what is left on the heap and
//! outside of it is compared with the limit. V8's own limit is half as much again, so that it need not collect again and
//! again while the heap is nearly full; when it is reached, V8 calls back. V8 keeps the allocations that led there alive
//! until JavaScript has stopped, which it does at its next check. A thread that does not stop, because V8 has functions
//! that cannot be interrupted, is given up: see [`Life`].

use std::ffi::c_void;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use deno_core::v8;
use skep_web::{EventId, HeldMemory};
use skep_worker::{Limit, LimitExceeded, Limits};

use crate::life::Life;
use crate::meter::Meter;

/// What V8 may take beyond the limit between noticing and stopping: more than any single allocation it makes for
/// JavaScript (an array's elements and a string's characters have a gibibyte at most).
const HEADROOM: usize = 1280 * 1024 * 1024;
/// Bytes of buffers after which the young generation is collected. A stream leaves one buffer behind for each chunk, and
/// V8 by itself lets 64 MiB of them lie.
const NEW_BUFFERS: usize = 2 * 1024 * 1024;
/// The length of an array that has room in a young generation of any size, and how many fill the largest one.
const FILLER: i32 = 8 * 1024;
const MOST_FILLERS: usize = 512;
/// The part of the limit by which the heap may exceed it between two full collections. A quarter is less than V8 sets
/// aside for its young generation: it then collects everything four times at the limit's edge before it calls back.
const SLACK: usize = 2;

/// A limit that stopped an isolate, and the event that ran into it, if it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) exceeded: LimitExceeded,
    pub(crate) event: Option<EventId>,
}

/// Remembers the first limit that an isolate exceeded, and counts its memory.
pub(crate) struct Guard {
    /// The memory limit in bytes.
    memory: usize,
    /// The limits of CPU time, once there is a version.
    cpu: OnceLock<CpuLimits>,
    life: Arc<Life>,
    starting: AtomicBool,
    isolate: OnceLock<v8::IsolateHandle>,
    stopped: AtomicBool,
    verdict: Mutex<Option<Verdict>>,
    /// Bytes in buffers that the allocator gave.
    buffers: AtomicUsize,
    /// Bytes in buffers that it gave since V8 last collected.
    new_buffers: AtomicUsize,
    /// Bytes in use on the V8 heap after the last full collection.
    heap: AtomicUsize,
    /// Bytes that the web platform holds for JavaScript.
    held: Arc<HeldMemory>,
    /// How many of them V8 knows of.
    told: AtomicUsize,
    /// V8's own limit was raised, for JavaScript to come to its end.
    raised: AtomicBool,
    /// The thread was given up.
    lost: AtomicBool,
}

/// The limits of CPU time of a version.
struct CpuLimits {
    startup: Duration,
    event: Duration,
}

impl Guard {
    /// Guards an isolate that may have this much memory, in bytes.
    pub(crate) fn new(memory: usize, life: &Arc<Life>) -> Arc<Self> {
        Arc::new(Self {
            memory,
            cpu: OnceLock::new(),
            life: Arc::clone(life),
            starting: AtomicBool::new(true),
            isolate: OnceLock::new(),
            stopped: AtomicBool::new(false),
            verdict: Mutex::new(None),
            buffers: AtomicUsize::new(0),
            new_buffers: AtomicUsize::new(0),
            heap: AtomicUsize::new(0),
            held: Arc::default(),
            told: AtomicUsize::new(0),
            raised: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        })
    }

    /// A version is about to be loaded.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        // There is one version for an isolate, so they are set once.
        let _ = self.cpu.set(CpuLimits { startup: limits.startup_cpu, event: limits.cpu });
    }

    pub(crate) fn set_isolate(&self, isolate: v8::IsolateHandle) {
        // There is one isolate for a guard, so it is set once.
        let _ = self.isolate.set(isolate);
    }

    /// Stops the isolate for a limit. The first one counts.
    pub(crate) fn stop(&self, verdict: Verdict) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        }
        if let Some(isolate) = self.isolate.get() {
            isolate.terminate_execution();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if !self.is_stopped() {
            return None;
        }
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_for_memory(&self, used: usize) {
        let allowed = self.memory;
        let exceeded =
            LimitExceeded { limit: Limit::Memory, allowed: allowed as u64, used: used.max(allowed + 1) as u64 };
        self.stop(Verdict { exceeded, event: None });
    }

    /// Stops the isolate for a turn that has taken this long and cannot be interrupted.
    pub(crate) fn stop_for_cpu(&self, used: Duration) {
        // Without a version nothing is watched.
        let Some(limits) = self.cpu.get() else { return };
        let (limit, allowed) = match self.starting.load(Ordering::Relaxed) {
            true => (Limit::StartupCpu, limits.startup),
            false => (Limit::Cpu, limits.event),
        };
        self.stop(Verdict { exceeded: exceeded_cpu(limit, allowed, used), event: None });
    }

    /// The version is loaded: from now on the limits of events count.
    pub(crate) fn started(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// Gives up the isolate's thread: it was stopped and goes on. Gives whether that is new.
    pub(crate) fn lose(&self) -> bool {
        if let Some(verdict) = self.verdict() {
            self.life.lose(verdict.exceeded);
        }
        !self.lost.swap(true, Ordering::AcqRel)
    }

    /// Holds the isolate's own thread for ever if it was given up. It takes no more CPU time and no more memory then; what
    /// it has stays taken.
    fn hold_if_lost(&self) {
        while self.lost.load(Ordering::Acquire) {
            std::thread::park();
        }
    }

    /// The memory limit in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes in use on the V8 heap after the last full collection, and in buffers.
    pub(crate) fn memory_in_use(&self) -> usize {
        self.heap.load(Ordering::Relaxed) + self.buffers.load(Ordering::Relaxed) + self.held.bytes()
    }

    /// Where the web platform counts the bytes that it holds.
    pub(crate) fn held(&self) -> &Arc<HeldMemory> {
        &self.held
    }
}

/// V8's interrupt, on the isolate's own thread in the middle of its JavaScript.
pub(crate) unsafe extern "C" fn on_interrupt(mut isolate: v8::UnsafeRawIsolatePtr, guard: *mut c_void) {
    // SAFETY: the pointer is the isolate that runs on this thread.
    let isolate = unsafe { v8::Isolate::ref_from_raw_isolate_ptr_mut(&mut isolate) };
    // SAFETY: the watchdog passes the guard of this isolate, which the isolate's thread keeps alive.
    let guard = unsafe { &*guard.cast_const().cast::<Guard>() };
    check_outside_memory(isolate, guard);
    // Answers that were given earlier in this turn do not wait for its end.
    skep_exchange::wake::flush();
    let state = deno_core::JsRuntime::op_state_from(isolate);
    // An op that runs JavaScript while it holds the state: the next interrupt will see.
    let Ok(mut state) = state.try_borrow_mut() else { return };
    let Some((meter, context)) = state.try_borrow::<(Rc<Meter>, v8::Global<v8::Context>)>().cloned() else { return };
    let event = current_event(isolate, &context);
    if let Some(verdict) = meter.interrupt(&mut state, event) {
        guard.stop(verdict);
    }
}

/// The event whose code runs: the number that `context.js` put into V8's continuation-preserved data. These are plain
/// properties of plain objects, so that reading them runs no JavaScript.
fn current_event(isolate: &mut v8::Isolate, context: &v8::Global<v8::Context>) -> Option<EventId> {
    v8::scope!(let scope, isolate);
    let context = v8::Local::new(scope, context);
    let scope = &mut v8::ContextScope::new(scope, context);
    let mut object = v8::Local::<v8::Object>::try_from(scope.get_continuation_preserved_embedder_data()).ok()?;
    for name in ["invocation", "id"] {
        let key = v8::String::new(scope, name)?;
        let value = object.get(scope, key.into())?;
        match v8::Local::<v8::Object>::try_from(value) {
            Ok(inner) => object = inner,
            Err(_) => return value.uint32_value(scope).map(EventId),
        }
    }
    None
}

/// Has V8 call back when its heap is nearly full, and after each full collection.
pub(crate) fn watch_memory(runtime: &mut deno_core::JsRuntime, guard: &Arc<Guard>) {
    let near = Arc::clone(guard);
    runtime.add_near_heap_limit_callback(move |current, initial| {
        let limit = current.max(initial);
        near.stop_for_memory(limit);
        if near.raised.swap(true, Ordering::Relaxed) {
            // It goes on and on. V8 would end the process.
            near.lose();
            near.hold_if_lost();
        }
        limit + HEADROOM
    });
    let data = Arc::as_ptr(guard).cast_mut().cast();
    runtime.v8_isolate().add_gc_epilogue_callback(after_collection, data, v8::GCType::kGCTypeAll);
}

/// Has V8 collect its young generation when there are many new buffers. There is no call for that, but a young generation
/// that is full is collected.
pub(crate) fn collect_new_buffers(runtime: &mut deno_core::JsRuntime, guard: &Guard) {
    if guard.new_buffers.load(Ordering::Relaxed) < NEW_BUFFERS {
        return;
    }
    deno_core::scope!(scope, runtime);
    for _ in 0..MOST_FILLERS {
        v8::scope!(let scope, scope);
        v8::Array::new(scope, FILLER);
        if guard.new_buffers.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}

/// Compares the memory outside of the heap with the limit: V8 does not look by itself when a `WebAssembly.Memory` grows.
pub(crate) fn check_outside_memory(isolate: &mut v8::Isolate, guard: &Guard) {
    if outside_memory(isolate, guard) > guard.memory {
        // Some of it may be garbage. What is left is compared again afterwards.
        isolate.low_memory_notification();
    }
}

/// Bytes outside of the heap that JavaScript holds.
fn outside_memory(isolate: &mut v8::Isolate, guard: &Guard) -> usize {
    let held = guard.held.bytes();
    let told = guard.told.swap(held, Ordering::Relaxed);
    let more = i64::try_from(held).unwrap_or(i64::MAX) - i64::try_from(told).unwrap_or(i64::MAX);
    usize::try_from(isolate.adjust_amount_of_external_allocated_memory(more)).unwrap_or(0)
}

unsafe extern "C" fn after_collection(
    mut isolate: v8::UnsafeRawIsolatePtr,
    kind: v8::GCType,
    _: v8::GCCallbackFlags,
    guard: *mut c_void,
) {
    // SAFETY: the pointer is the isolate that collects, on its own thread.
    let isolate = unsafe { v8::Isolate::ref_from_raw_isolate_ptr_mut(&mut isolate) };
    // SAFETY: the guard of this isolate, which the isolate's thread keeps alive longer than the isolate.
    let guard = unsafe { &*guard.cast_const().cast::<Guard>() };
    guard.hold_if_lost();
    guard.new_buffers.store(0, Ordering::Relaxed);
    if kind != v8::GCType::kGCTypeMarkSweepCompact {
        return;
    }
    let heap = isolate.get_heap_statistics().used_heap_size();
    guard.heap.store(heap, Ordering::Relaxed);
    // No change, so that no collection begins within this one.
    let outside = usize::try_from(isolate.adjust_amount_of_external_allocated_memory(0)).unwrap_or(0);
    if heap + outside > guard.memory {
        guard.stop_for_memory(heap + outside);
    }
}

/// The memory limits of an isolate.
pub(crate) fn create_params(guard: &Arc<Guard>) -> v8::CreateParams {
    v8::CreateParams::default()
        .heap_limits(0, guard.memory + guard.memory / SLACK)
        .array_buffer_allocator(BufferAllocator::shared(guard))
        // A thread that waits cannot be interrupted, and there is no other thread that could wake it.
        .allow_atomics_wait(false)
}

/// Allocates the memory of `ArrayBuffer`s, and refuses what would exceed the limit. V8 collects garbage and asks again
/// after a refusal, and calls the near-heap-limit callback before the last time.
struct BufferAllocator(Weak<Guard>);

impl BufferAllocator {
    fn shared(guard: &Arc<Guard>) -> v8::SharedRef<v8::Allocator> {
        let handle = Arc::into_raw(Arc::new(Self(Arc::downgrade(guard))));
        // SAFETY: the handle is a leaked Arc, as the functions of the table expect, and `drop` takes it back.
        unsafe { v8::new_rust_allocator(handle, &VTABLE) }.make_shared()
    }

    fn allocate(&self, length: usize, zeroed: bool) -> *mut c_void {
        let Some(guard) = self.0.upgrade() else { return std::ptr::null_mut() };
        let buffers = guard.buffers.load(Ordering::Relaxed).saturating_add(length);
        if buffers.saturating_add(guard.heap.load(Ordering::Relaxed)) > guard.memory {
            return std::ptr::null_mut();
        }
        // SAFETY: any size may be asked for; zero bytes give a pointer that may be freed.
        let memory = unsafe { if zeroed { libc::calloc(length.max(1), 1) } else { libc::malloc(length.max(1)) } };
        if !memory.is_null() {
            guard.buffers.fetch_add(length, Ordering::Relaxed);
            guard.new_buffers.fetch_add(length, Ordering::Relaxed);
        }
        memory
    }

    fn free(&self, memory: *mut c_void, length: usize) {
        // SAFETY: V8 gives back what `allocate` gave it, once.
        unsafe { libc::free(memory) };
        if let Some(guard) = self.0.upgrade() {
            guard.buffers.fetch_sub(length, Ordering::Relaxed);
        }
    }
}

static VTABLE: v8::RustAllocatorVtable<BufferAllocator> = v8::RustAllocatorVtable {
    allocate: allocate_zeroed,
    allocate_uninitialized,
    free: free_buffer,
    drop: drop_allocator,
};

unsafe extern "C" fn allocate_zeroed(allocator: &BufferAllocator, length: usize) -> *mut c_void {
    allocator.allocate(length, true)
}

unsafe extern "C" fn allocate_uninitialized(allocator: &BufferAllocator, length: usize) -> *mut c_void {
    allocator.allocate(length, false)
}

unsafe extern "C" fn free_buffer(allocator: &BufferAllocator, memory: *mut c_void, length: usize) {
    allocator.free(memory, length);
}

unsafe extern "C" fn drop_allocator(allocator: *const BufferAllocator) {
    // SAFETY: V8 drops the handle once, and it came from `Arc::into_raw`.
    drop(unsafe { Arc::from_raw(allocator) });
}

/// Milliseconds of a duration, rounded up: a limit of 50 ms that was exceeded shows at least 51.
pub(crate) fn exceeded_cpu(limit: Limit, allowed: Duration, used: Duration) -> LimitExceeded {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    LimitExceeded { limit, allowed: milliseconds(allowed), used: milliseconds(used).max(milliseconds(allowed) + 1) }
}
