//! The threads that kernels run on.

use std::ops::Range;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// A fixed number of threads that work through ranges together.
pub struct ThreadPool {
    inner: rayon::ThreadPool,
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

    /// Calls `body` once for every row of `width` elements, with its number, on all threads;
    /// about `block` rows at a time. A last row that is not whole is left alone.
    pub fn for_rows<T: Send>(
        &self,
        rows: &mut [T],
        width: usize,
        block: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) {
        if width == 0 {
            return;
        }
        if rows.len() / width <= block || self.threads() == 1 {
            rows.chunks_exact_mut(width).enumerate().for_each(|(i, row)| body(i, row));
            return;
        }
        self.run(|| {
            let rows = rows.par_chunks_exact_mut(width).with_min_len(block.max(1));
            rows.enumerate().for_each(|(i, row)| body(i, row));
        });
    }

    /// What `body` makes of each number of `0..count`, in order.
    pub fn map<R: Send>(&self, count: usize, body: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
        self.run(|| (0..count).into_par_iter().map(body).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

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
}
