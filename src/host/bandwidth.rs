//! How fast threads read memory: the most that weights could come at. Caches are sized from sysfs.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes to read at least.
const LEAST: u64 = 256 << 20;
/// How many times all caches together are read, so that little of it is found in one of them.
const CACHES: u64 = 4;
/// Share of the memory that is available to take at most: one part in so many.
const AVAILABLE: u64 = 4;
/// Passes, the best of which counts.
const PASSES: usize = 4;
/// How long a thread reads in one pass: long beside the difference of when threads start.
const PASS: Duration = Duration::from_millis(50);
/// Places that a thread reads from in turns: of one alone less comes from memory than there could, 29
/// instead of 33 GB/s on two threads of an Intel Xeon.
const PLACES: usize = 4;
/// Numbers that are read of each place between two looks at the clock: 256 KiB.
const LOOK: usize = 1 << 15;

/// Bytes per second that `threads` threads read together, each from memory of its own; the best of
/// a few passes, which take about half a second.
///
/// `None` where less than twice the caches would fit into a quarter of the `available` bytes of
/// memory (zero: not known), or threads cannot be started.
pub fn read_bandwidth(threads: usize, available: u64) -> Option<f64> {
    let caches = cache_bytes(Path::new("/sys/devices/system/cpu"));
    read(threads, buffer_bytes(caches, available)?, PASSES)
}

/// [`read_bandwidth`] at a glance: a tenth of a second, of which filling the memory takes most. Too
/// high where caches are larger than what is read.
pub fn glance(threads: usize, available: u64) -> Option<f64> {
    read(threads, buffer_bytes(0, available)?, 1)
}

/// The best of so many passes over `bytes` in all.
fn read(threads: usize, bytes: u64, passes: usize) -> Option<f64> {
    let words = (bytes / 8) as usize / threads.max(1);
    thread::scope(|scope| {
        let (done, rates) = mpsc::channel();
        let mut starts = Vec::new();
        for _ in 0..threads.max(1) {
            let (start, started) = mpsc::channel::<()>();
            starts.push(start);
            let done = done.clone();
            let read = move || {
                // Written by the thread that reads it, so that its pages are its own and near it.
                let memory = vec![1u64; words];
                let mut rate = 0.0;
                // It ends when nobody listens, or nobody is left who could start it.
                while done.send(rate).is_ok() && started.recv().is_ok() {
                    rate = read_for(&memory, PASS);
                }
            };
            thread::Builder::new().spawn_scoped(scope, read).ok()?;
        }
        drop(done);
        let all = || rates.iter().take(starts.len()).sum::<f64>();
        // First each says that its memory is there.
        let mut best = all();
        for _ in 0..passes {
            for start in &starts {
                start.send(()).ok()?;
            }
            best = best.max(all());
        }
        Some(best)
    })
}

/// Bytes per second at which this thread reads `memory`, over and over, in all places at once.
fn read_for(memory: &[u64], time: Duration) -> f64 {
    let (start, mut bytes) = (Instant::now(), 0);
    let length = memory.len() / PLACES;
    loop {
        for at in (0..length).step_by(LOOK) {
            let mut parts = [&memory[..0]; PLACES];
            for (part, place) in parts.iter_mut().zip(memory.chunks_exact(length)) {
                *part = &place[at..length.min(at + LOOK)];
                bytes += size_of_val(*part);
            }
            black_box(sum(parts));
            if start.elapsed() >= time {
                break;
            }
        }
        let elapsed = start.elapsed();
        if elapsed >= time {
            return bytes as f64 / elapsed.as_secs_f64();
        }
    }
}

/// The sum of all numbers, but for the last of each part where they are no sixteen: as many are taken at
/// a time, so that no addition waits for another and the memory is all that is waited for.
fn sum(parts: [&[u64]; PLACES]) -> u64 {
    let chunks = parts.map(|part| part.as_chunks::<16>().0);
    let mut sums = [0u64; 16];
    for i in 0..chunks[0].len() {
        for chunks in &chunks {
            for (sum, word) in sums.iter_mut().zip(&chunks[i]) {
                *sum = sum.wrapping_add(*word);
            }
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Bytes to read with so many bytes of `caches`; `None` if memory does not suffice to tell them
/// apart.
fn buffer_bytes(caches: u64, available: u64) -> Option<u64> {
    let wanted = LEAST.max(caches.saturating_mul(CACHES));
    let bytes = if available == 0 { wanted } else { wanted.min(available / AVAILABLE) };
    (bytes >= caches.saturating_mul(2) && bytes > 0).then_some(bytes)
}

/// Bytes of all data caches of all processors under `root`; zero where the system does not tell.
fn cache_bytes(root: &Path) -> u64 {
    // Each cache once: its level, its kind and who shares it.
    let mut caches = BTreeMap::new();
    for cpu in entries(root, "cpu") {
        for index in entries(&cpu.join("cache"), "index") {
            let read = |name| fs::read_to_string(index.join(name)).unwrap_or_default();
            let (kind, size) = (read("type"), size(&read("size")));
            if kind.trim() != "Instruction" {
                caches.insert((read("level"), kind, read("shared_cpu_list")), size.unwrap_or(0));
            }
        }
    }
    caches.values().sum()
}

/// Directories in `directory` called `prefix` and a number.
pub(super) fn entries(directory: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let numbered = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str());
        let number = name.and_then(|n| n.strip_prefix(prefix));
        number.is_some_and(|n| n.parse::<u32>().is_ok())
    };
    let Ok(all) = fs::read_dir(directory) else { return Vec::new() };
    all.filter_map(|entry| Some(entry.ok()?.path())).filter(numbered).collect()
}

/// Bytes of a size such as `32768K` or `1M`.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cache_counts_once() {
        let root = tempfile::tempdir().unwrap();
        for (cpu, index, level, kind, bytes, shared) in [
            (0, 0, 1, "Data", "32K", "0"),
            (0, 1, 1, "Instruction", "32K", "0"),
            (0, 2, 3, "Unified", "32768K", "0-1"),
            (1, 0, 1, "Data", "32K", "1"),
            (1, 2, 3, "Unified", "32768K", "0-1"),
            (2, 2, 3, "Unified", "1M", "2"),
        ] {
            let directory = root.path().join(format!("cpu{cpu}/cache/index{index}"));
            fs::create_dir_all(&directory).unwrap();
            let level = format!("{level}");
            for (name, text) in [
                ("level", level.as_str()),
                ("type", kind),
                ("size", bytes),
                ("shared_cpu_list", shared),
            ] {
                fs::write(directory.join(name), format!("{text}\n")).unwrap();
            }
        }
        fs::create_dir(root.path().join("cpufreq")).unwrap();
        assert_eq!(cache_bytes(root.path()), (32 + 32 + 32_768 + 1024) << 10);
        assert_eq!(cache_bytes(&root.path().join("none")), 0);
    }

    #[test]
    fn the_buffer_is_larger_than_the_caches_or_there_is_none() {
        let mib = |n: u64| n << 20;
        assert_eq!(buffer_bytes(mib(33), mib(20_000)), Some(mib(256)));
        assert_eq!(buffer_bytes(mib(300), mib(20_000)), Some(mib(1200)));
        assert_eq!(buffer_bytes(mib(300), mib(3000)), Some(mib(750)));
        assert_eq!(buffer_bytes(mib(300), mib(1000)), None);
        assert_eq!(buffer_bytes(0, 0), Some(mib(256)));
    }

    #[test]
    fn memory_is_read_at_some_rate() {
        let rate = read_bandwidth(2, 64 << 20).or_else(|| read_bandwidth(2, 0)).unwrap();
        assert!(rate.is_finite() && rate > 1e6, "{rate}");
        let rate = glance(2, 64 << 20).unwrap();
        assert!(rate.is_finite() && rate > 1e6, "{rate}");
        let numbers: Vec<u64> = (0..1024).collect();
        let (all, _) = numbers.as_chunks::<256>();
        assert_eq!(sum([&all[0], &all[1], &all[2], &all[3]]), 1023 * 512);
    }
}
