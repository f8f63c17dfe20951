//! Virtual time: a single-threaded executor whose clock stands still while anything can run.
//!
//! Invariant: what happens is decided by the tasks alone. Ready tasks are polled in the order in which they became ready;
//! only when none is ready the clock jumps to the next timer (those of one millisecond in the order of their
//! registration). A dropped sleep moves no clock and wakes nobody.

mod crash;
mod sleep;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use clickledger_core::ports::Clock;

pub use self::crash::{CrashChance, Crashed, Crashing, crashing};
pub use self::sleep::Sleep;
use self::timers::Timers;

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock and an executor of tasks on it. Clones are the same one.
///
/// Tasks that hold a clone keep it, and it keeps them, until they end: [`VirtualTime::stop`] ends them all.
#[derive(Clone)]
pub struct VirtualTime {
    shared: Arc<Shared>,
}

struct Shared {
    now_ms: AtomicI64,
    running: AtomicBool,
    next_generation: AtomicU64,
    tasks: Mutex<Tasks>,
    timers: Mutex<Timers>,
    ready: Arc<Ready>,
}

/// The tasks that can go on, in the order in which they came to.
type Ready = Mutex<VecDeque<Arc<Handle>>>;

/// Names one task; wakes it.
struct Handle {
    slot: usize,
    generation: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            lock(&self.ready).push_back(Arc::clone(&self));
        }
    }
}

/// The slot of the future that `block_on` drives, which lies on its caller's stack.
const ROOT: usize = usize::MAX;

#[derive(Default)]
struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    generation: u64,
    /// Taken out while it is polled.
    task: Option<BoxedTask>,
    alive: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A spawned task. Dropping this leaves the task alone.
pub struct TaskHandle {
    shared: Arc<Shared>,
    slot: usize,
    generation: u64,
}

impl TaskHandle {
    /// Drops the task where it waits, as a crash would. Nothing, if it has ended.
    pub fn cancel(&self) {
        // Dropped when the lock is free again: what a task holds may lock too.
        let _task = self.shared.remove(self.slot, self.generation);
    }

    /// Whether it ran to its end or was cancelled.
    pub fn is_finished(&self) -> bool {
        let tasks = lock(&self.shared.tasks);
        let slot = &tasks.slots[self.slot];
        !slot.alive || slot.generation != self.generation
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskHandle({}, finished: {})", self.slot, self.is_finished())
    }
}

impl Shared {
    fn remove(&self, slot: usize, generation: u64) -> Option<BoxedTask> {
        let mut tasks = lock(&self.tasks);
        let entry = &mut tasks.slots[slot];
        if entry.generation != generation || !entry.alive {
            return None;
        }
        entry.alive = false;
        let task = entry.task.take();
        tasks.free.push(slot);
        task
    }

    fn handle(&self, slot: usize) -> Arc<Handle> {
        Arc::new(Handle {
            slot,
            generation: self.next_generation.fetch_add(1, Ordering::Relaxed),
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
        })
    }

    fn next_ready(&self) -> Option<Arc<Handle>> {
        let next = lock(&self.ready).pop_front()?;
        next.queued.store(false, Ordering::Release);
        Some(next)
    }

    fn poll(&self, handle: Arc<Handle>) {
        let (slot, generation) = (handle.slot, handle.generation);
        let taken = {
            let mut tasks = lock(&self.tasks);
            let entry = tasks.slots.get_mut(slot);
            entry
                .filter(|entry| entry.generation == generation)
                .and_then(|entry| entry.task.take())
        };
        let Some(mut task) = taken else { return };
        let waker = Waker::from(handle);
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(task);
            self.remove(slot, generation);
            return;
        }
        let mut tasks = lock(&self.tasks);
        let entry = &mut tasks.slots[slot];
        if entry.generation == generation && entry.alive {
            entry.task = Some(task);
        } else {
            // It cancelled itself.
            drop(tasks);
            drop(task);
        }
    }

    /// Jumps to the next timer, not beyond `until_ms`, and wakes all of its millisecond; says whether there was one.
    fn jump(&self, until_ms: i64) -> bool {
        let Some((at_ms, due)) = lock(&self.timers).take_due(until_ms) else {
            return false;
        };
        self.now_ms.fetch_max(at_ms, Ordering::AcqRel);
        due.into_iter().for_each(Waker::wake);
        true
    }
}

/// Only one run at a time, and none from within a task.
struct Running<'a>(&'a AtomicBool);

impl<'a> Running<'a> {
    fn begin(flag: &'a AtomicBool) -> Self {
        assert!(
            !flag.swap(true, Ordering::AcqRel),
            "virtual time is driven already: a task awaits, it does not drive"
        );
        Self(flag)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl VirtualTime {
    /// A clock that shows this time (Unix milliseconds), and no task.
    pub fn new(start_ms: i64) -> Self {
        Self {
            shared: Arc::new(Shared {
                now_ms: AtomicI64::new(start_ms),
                running: AtomicBool::new(false),
                next_generation: AtomicU64::new(1),
                tasks: Mutex::default(),
                timers: Mutex::default(),
                ready: Arc::default(),
            }),
        }
    }

    /// Adds a task; it is first polled when virtual time is next driven, after all that are ready already.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        let shared = &self.shared;
        let task: BoxedTask = Box::pin(task);
        let handle = {
            let mut tasks = lock(&shared.tasks);
            let slot = tasks.free.pop().unwrap_or(tasks.slots.len());
            let handle = shared.handle(slot);
            let entry = Slot {
                generation: handle.generation,
                task: Some(task),
                alive: true,
            };
            match tasks.slots.get_mut(slot) {
                Some(free) => *free = entry,
                None => tasks.slots.push(entry),
            }
            handle
        };
        let generation = handle.generation;
        let slot = handle.slot;
        handle.wake();
        TaskHandle {
            shared: Arc::clone(shared),
            slot,
            generation,
        }
    }

    /// Adds a task that begins at this time (Unix milliseconds), or now if that is past.
    pub fn spawn_at(&self, ms: i64, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        let time = self.clone();
        self.spawn(async move {
            time.sleep_until(ms).await;
            task.await;
        })
    }

    /// Ready at this time (Unix milliseconds); at once if it is past.
    pub fn sleep_until(&self, ms: i64) -> Sleep {
        Sleep::new(self.clone(), ms, false)
    }

    /// Lets every other ready task go first.
    pub fn yield_now(&self) -> Sleep {
        Sleep::new(self.clone(), i64::MIN, true)
    }

    /// Drives all tasks up to this time (Unix milliseconds), the timers of it included. Afterwards the clock shows it,
    /// or what it showed before, if that is later.
    pub fn run_until(&self, ms: i64) {
        let _running = Running::begin(&self.shared.running);
        self.drive(ms);
        self.shared.now_ms.fetch_max(ms, Ordering::AcqRel);
    }

    /// Drives all tasks until every one has ended or waits for something that no timer brings. The clock stays at the
    /// last timer. Never returns if a task goes on for ever.
    pub fn run(&self) {
        let _running = Running::begin(&self.shared.running);
        self.drive(i64::MAX);
    }

    fn drive(&self, until_ms: i64) {
        loop {
            while let Some(handle) = self.shared.next_ready() {
                if handle.slot != ROOT {
                    self.shared.poll(handle);
                }
            }
            if !self.shared.jump(until_ms) {
                return;
            }
        }
    }

    /// Drives this future and all tasks until it is ready; the tasks stay where they are then.
    ///
    /// # Panics
    /// If the future waits for something that no task and no timer brings.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let _running = Running::begin(&self.shared.running);
        let mut future = pin!(future);
        let root = self.shared.handle(ROOT);
        let waker = Waker::from(Arc::clone(&root));
        Arc::clone(&root).wake();
        loop {
            while let Some(handle) = self.shared.next_ready() {
                if handle.slot != ROOT {
                    self.shared.poll(handle);
                } else if handle.generation == root.generation
                    && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return output;
                }
            }
            assert!(
                self.shared.jump(i64::MAX),
                "the future waits, and nothing is left that could wake it"
            );
        }
    }

    /// How many tasks have not ended.
    pub fn tasks(&self) -> usize {
        lock(&self.shared.tasks)
            .slots
            .iter()
            .filter(|slot| slot.alive)
            .count()
    }

    /// Drops every task where it waits. (Tasks that hold a clone of this would otherwise live as long as it, and it as
    /// long as they.)
    pub fn stop(&self) {
        let mut dropped = Vec::new();
        {
            let mut tasks = lock(&self.shared.tasks);
            let Tasks { slots, free } = &mut *tasks;
            for (place, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.alive) {
                slot.alive = false;
                dropped.extend(slot.task.take());
                free.push(place);
            }
        }
        lock(&self.shared.ready).retain(|handle| handle.slot == ROOT);
        drop(dropped);
    }
}

impl fmt::Debug for VirtualTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualTime({} ms, {} tasks)", self.now_ms(), self.tasks())
    }
}

#[async_trait]
impl Clock for VirtualTime {
    fn now_ms(&self) -> i64 {
        self.shared.now_ms.load(Ordering::Acquire)
    }

    async fn sleep(&self, ms: u64) {
        match ms {
            0 => self.yield_now().await,
            _ => {
                self.sleep_until(self.now_ms().saturating_add_unsigned(ms)).await;
            }
        }
    }
}
