//! The threads that kernels run on.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::SharedSlice;

/// How long a thread looks for the next loop before it sleeps. Between the loops of a layer pass
/// some microseconds, and waking a thread takes many more.
const LOOK_OUT: Duration = Duration::from_micros(150);

/// A fixed number of threads that work through ranges together; the caller's is one of them.
///
/// Rayon's deques serve work that splits as it goes; these loops last microseconds and need no more
/// than a counter.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the caller whose loop is running.
    turn: Mutex<()>,
}

/// The threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start {threads} threads: {reason}; ask for fewer threads or raise the limit on processes (ulimit -u)"
)]
pub struct PoolError {
    threads: usize,
    reason: String,
}

/// What the threads share.
struct Shared {
    /// The number of the loop in the upper bits, then whether it may be entered, and how many
    /// workers are inside.
    state: AtomicU64,
    /// The loop; written while no worker is inside, read by those that entered.
    work: UnsafeCell<Work>,
    /// The next block.
    next: AtomicUsize,
    /// Workers asleep or about to be.
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A loop over blocks.
#[derive(Clone, Copy)]
struct Work {
    /// Valid while the loop may be entered or has workers inside.
    body: *const (dyn Fn(usize) + Sync),
    blocks: usize,
}

// SAFETY: `work` is written by the holder of `turn` while `state` lets nobody in and has nobody
// inside, and read only by workers inside; all else synchronizes itself.
unsafe impl Sync for Shared {}
// SAFETY: `body` points to something `Sync`, and is followed only as above.
unsafe impl Send for Shared {}

const INSIDE: u64 = (1 << 16) - 1;
const OPEN: u64 = 1 << 16;
const LOOP: u64 = 1 << 17;
/// The state of a pool that shuts down.
const END: u64 = u64::MAX;

impl ThreadPool {
    /// Starts `threads` threads, the caller's included; zero counts as one.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let threads = threads.clamp(1, INSIDE as usize);
        let nothing: *const (dyn Fn(usize) + Sync) = &|_: usize| {};
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            work: UnsafeCell::new(Work { body: nothing, blocks: 0 }),
            next: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
            panic: Mutex::new(None),
        });
        let mut pool = Self { shared, workers: Vec::new(), turn: Mutex::new(()) };
        for i in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("qrun-compute-{i}"))
                .spawn(move || shared.serve())
                .map_err(|e| PoolError { threads, reason: e.to_string() })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads there are; at least one.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body` once for every block of at most `block` consecutive numbers of `0..count`, on
    /// all threads, in no particular order. A loop inside a loop runs on one thread.
    pub fn for_blocks(&self, count: usize, block: usize, body: impl Fn(Range<usize>) + Sync) {
        let block = block.max(1);
        let blocks = count.div_ceil(block);
        let run = |i: usize| body(i * block..count.min((i + 1) * block));
        let turn = match self.turn.try_lock() {
            _ if blocks <= 1 || self.workers.is_empty() => None,
            Ok(turn) => Some(turn),
            // Of a loop that panicked; there is nothing that it could have left half done.
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            // Busy: with the loop that this one is inside of, or with another caller's.
            Err(TryLockError::WouldBlock) => None,
        };
        match turn {
            Some(_turn) => self.shared.run(&run, blocks),
            None => (0..blocks).for_each(run),
        }
    }

    /// Calls `body` once for every row of `width` elements, with its number, on all threads;
    /// about `block` rows at a time. A last row that is not whole is left alone.
    pub fn for_rows<T: Send>(
        &self,
        rows: &mut [T],
        width: usize,
        block: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let count = rows.len().checked_div(width).unwrap_or(0);
        let rows = SharedSlice::new(rows);
        self.for_blocks(count, block, |range| {
            for row in range {
                // SAFETY: no two blocks have a row in common.
                body(row, unsafe { rows.slice_mut(row * width, width) });
            }
        });
    }

    /// What `body` makes of each number of `0..count`, in order.
    pub fn map<R: Send>(&self, count: usize, body: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
        let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
        self.for_rows(&mut results, 1, 1, |i, result| result[0] = Some(body(i)));
        results.into_iter().flatten().collect()
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.state.store(END, Ordering::SeqCst);
        self.shared.wake();
        for worker in self.workers.drain(..) {
            // It cannot have panicked: what it runs is caught.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Runs a loop, with whichever workers come in time. One caller at a time.
    fn run(&self, body: &(dyn Fn(usize) + Sync), blocks: usize) {
        let last = self.state.load(Ordering::Acquire);
        // SAFETY: the lifetime is forgotten; nobody follows the pointer once this function
        // returns, for it waits until no worker is inside.
        let body = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(body)
        };
        // SAFETY: the loop before was closed and left, so no worker reads.
        unsafe { *self.work.get() = Work { body, blocks } };
        self.next.store(0, Ordering::Relaxed);
        self.state.store((last & !INSIDE & !OPEN).wrapping_add(LOOP) | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
        let own = catch_unwind(AssertUnwindSafe(|| self.work_through(body, blocks)));
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut tries = 0u32;
        while self.state.load(Ordering::Acquire) & INSIDE != 0 {
            relax(&mut tries);
        }
        let theirs = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = own.err().or(theirs) {
            resume_unwind(payload);
        }
    }

    fn work_through(&self, body: &(dyn Fn(usize) + Sync), blocks: usize) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= blocks {
                return;
            }
            body(i);
        }
    }

    /// What a worker does all its life.
    fn serve(&self) {
        let mut seen = 0;
        loop {
            let state = self.wait_for_another(seen);
            if state == END {
                return;
            }
            seen = state & !INSIDE & !OPEN;
            if state & OPEN == 0 {
                continue;
            }
            let entered =
                self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Acquire);
            if entered.is_err() {
                // Another came first, or it was closed.
                seen = seen.wrapping_sub(LOOP);
                continue;
            }
            // SAFETY: inside, so the caller waits: `work` is not written, `body` is alive.
            let (body, blocks) = unsafe {
                let work = *self.work.get();
                (&*work.body, work.blocks)
            };
            if let Err(e) = catch_unwind(AssertUnwindSafe(|| self.work_through(body, blocks))) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for a loop other than the one last seen: awake at first, then asleep.
    fn wait_for_another(&self, seen: u64) -> u64 {
        let new = |state: u64| state == END || state & !INSIDE & !OPEN != seen;
        let (mut tries, begin) = (0u32, Instant::now());
        loop {
            for _ in 0..64 {
                let state = self.state.load(Ordering::Acquire);
                if new(state) {
                    return state;
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() > LOOK_OUT {
                break;
            }
            relax(&mut tries);
        }
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            let state = self.state.load(Ordering::SeqCst);
            if new(state) {
                break state;
            }
            bed = self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        state
    }

    fn wake(&self) {
        // With the lock held no worker is between its last look and its sleep.
        drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
        self.alarm.notify_all();
    }
}

/// Passes a moment of waiting; gives the processor away if it takes long.
fn relax(tries: &mut u32) {
    *tries += 1;
    if *tries > 100 {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn every_row_comes_with_its_number() {
        for threads in [1, 3] {
            let pool = ThreadPool::new(threads).unwrap();
            let mut rows = vec![0; 23];
            pool.for_rows(&mut rows, 2, 3, |i, row| row.fill(i + 1));
            let expected: Vec<usize> =
                (0..23).map(|i| if i < 22 { i / 2 + 1 } else { 0 }).collect();
            assert_eq!(rows, expected);
            assert_eq!(pool.map(5, |i| i * i), [0, 1, 4, 9, 16]);
        }
    }

    #[test]
    fn every_number_comes_once() {
        for threads in [1, 3] {
            let pool = ThreadPool::new(threads).unwrap();
            for (count, block) in [(0, 4), (1, 4), (10, 1), (10, 3), (10, 100), (7, 0)] {
                let seen: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
                pool.for_blocks(count, block, |range| {
                    assert!(range.len() <= block.max(1));
                    for i in range {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    }
                });
                assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1), "{count} {block}");
            }
        }
    }

    #[test]
    fn many_short_loops_lose_no_block() {
        let pool = ThreadPool::new(4).unwrap();
        let total = AtomicUsize::new(0);
        for round in 0..20_000 {
            if round % 5000 == 0 {
                // Long enough for the others to fall asleep.
                std::thread::sleep(2 * LOOK_OUT);
            }
            pool.for_blocks(round % 7, 1, |range| {
                total.fetch_add(range.len(), Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), (0..20_000).map(|r| r % 7).sum::<usize>());
    }

    /// Every loop has a place of its own on the caller's stack, which is gone when it ends: a worker
    /// that came late would write into the next one's, or into nothing.
    #[test]
    fn a_million_hand_overs_lose_nothing_and_touch_nothing_that_is_over() {
        const THREADS: usize = 8;
        let pool = ThreadPool::new(THREADS).unwrap();
        let me = std::thread::current().id();
        let theirs = AtomicUsize::new(0);
        for round in 0..1_000_000usize {
            if round % 100_000 == 99_999 {
                std::thread::sleep(2 * LOOK_OUT);
            }
            let blocks = 2 + round % (2 * THREADS);
            // Not atomic: each block is one thread's, and the hand-over has to show it to the caller.
            let mut seen = [0usize; 2 * THREADS + 2];
            pool.for_rows(&mut seen[..blocks], 1, 1, |i, place| {
                place[0] += round + i;
                if std::thread::current().id() != me {
                    theirs.fetch_add(1, Ordering::Relaxed);
                }
            });
            let good = |(i, &n): (usize, &usize)| n == if i < blocks { round + i } else { 0 };
            assert!(seen.iter().enumerate().all(good), "round {round}: {seen:?}");
        }
        println!("{} blocks were done by workers", theirs.into_inner());
    }

    #[test]
    fn loops_inside_loops_and_from_several_threads_end() {
        let pool = ThreadPool::new(3).unwrap();
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    pool.for_blocks(10, 1, |_| {
                        pool.for_blocks(10, 2, |range| {
                            total.fetch_add(range.len(), Ordering::Relaxed);
                        });
                    });
                });
            }
        });
        assert_eq!(total.into_inner(), 300);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = ThreadPool::new(3).unwrap();
        for bad in 0..8 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.for_blocks(8, 1, |range| assert_ne!(range.start, bad, "as expected"));
            }));
            assert!(result.is_err());
            assert_eq!(pool.map(5, |i| i), [0, 1, 2, 3, 4]);
        }
    }
}
