//! The threads that kernels run on.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// A fixed number of threads that work through ranges together.
pub struct ThreadPool {
    inner: rayon::ThreadPool,
}

/// The threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start {threads} threads: {reason}; ask for fewer with --threads or raise the limit on processes (ulimit -u)"
)]
pub struct PoolError {
    threads: usize,
    reason: String,
}

impl ThreadPool {
    /// Starts `threads` threads; zero counts as one.
    ///
    /// # Errors
    /// If the system refuses to start them.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let threads = threads.max(1);
        let inner = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("qrun-compute-{i}"))
            .build()
            .map_err(|e| PoolError { threads, reason: e.to_string() })?;
        Ok(Self { inner })
    }

    /// How many threads there are; at least one.
    pub fn threads(&self) -> usize {
        self.inner.current_num_threads()
    }

    /// Runs `work` on one of the threads. Loops inside it start without a hand-over, so a caller
    /// with many of them wraps them all in one `run`.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.inner.install(work)
    }

    /// Calls `body` once for every block of at most `block` consecutive numbers of `0..count`, on
    /// all threads, in no particular order.
    pub fn for_blocks(&self, count: usize, block: usize, body: impl Fn(Range<usize>) + Sync) {
        let block = block.max(1);
        if count <= block || self.threads() == 1 {
            let mut start = 0;
            while start < count {
                let end = count.min(start.saturating_add(block));
                body(start..end);
                start = end;
            }
            return;
        }
        self.run(|| {
            (0..count.div_ceil(block)).into_par_iter().for_each(|i| {
                body(i * block..count.min((i + 1) * block));
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

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
}
