//! How fast something goes and how long it still takes: by what was done while it was watched,
//! never by what was there before; and nothing where nothing is known yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long something is watched before anything is said of it.
const SETTLE: Duration = Duration::from_secs(1);

/// How far back the rate looks.
const WINDOW: Duration = Duration::from_secs(30);

/// Pause between two samples that are kept.
const SPACING: Duration = Duration::from_secs(1);

/// A silence that is none.
const SILENCE: Duration = Duration::from_secs(5);

/// An estimate beyond this is none.
const LONGEST: Duration = Duration::from_secs(100 * 24 * 3600);

/// Watches one count on its way to a total.
#[derive(Debug, Default)]
pub struct Estimate {
    /// From the oldest one that still counts, at least [`SPACING`] apart.
    samples: VecDeque<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    total: u64,
}

impl Estimate {
    /// At the time `at` there were `done` of `total`. The first sample only says where the watching
    /// begins. A count that falls by half or has another total is another one; threads that work side
    /// by side may tell of less than the last did, which says nothing.
    pub fn observe(&mut self, at: Instant, done: u64, total: u64) {
        let last = self.last.map_or(0, |(_, last)| last);
        if total != self.total || done < last / 2 {
            *self = Self { total, ..Self::default() };
        } else if done < last {
            return;
        }
        self.last = Some((at, done));
        if self.samples.back().is_none_or(|(last, _)| at.duration_since(*last) >= SPACING) {
            self.samples.push_back((at, done));
        }
        while self.samples.get(1).is_some_and(|(next, _)| at.duration_since(*next) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// What is done in a second, as far as that is known at `now`.
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        let (&(from, before), (to, after)) = (self.samples.front()?, self.last?);
        let watched = to.duration_since(from);
        // After a silence longer than all that was seen, what was seen says nothing.
        let silent = now.duration_since(to) > watched.max(SILENCE);
        (watched >= SETTLE && after > before && !silent)
            .then(|| (after - before) as f64 / watched.as_secs_f64())
    }

    /// How long it still takes, as far as that is known at `now`.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let (at, done) = self.last?;
        let missing = self.total.checked_sub(done).filter(|missing| *missing > 0)?;
        let from_then = missing as f64 / self.per_second(now)?;
        let left = Duration::try_from_secs_f64(from_then).ok()?;
        let left = left.checked_sub(now.duration_since(at))?;
        (!left.is_zero() && left <= LONGEST).then_some(left)
    }
}

/// `23s`, `4m 10s`, `2h 5m`: rounded up, so that what is not over is never `0s`.
pub fn in_words(left: Duration) -> String {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    /// What is said after these samples, in seconds, at the time of the last.
    fn after(samples: &[(f64, u64)], total: u64) -> (Option<f64>, Option<f64>) {
        let start = Instant::now();
        let mut estimate = Estimate::default();
        let mut now = start;
        for &(at, done) in samples {
            now = start + Duration::from_secs_f64(at);
            estimate.observe(now, done, total);
        }
        (estimate.per_second(now), estimate.left(now).map(|left| left.as_secs_f64()))
    }

    #[test]
    fn there_is_no_estimate_before_there_is_one() {
        assert_eq!(after(&[], 6), (None, None));
        assert_eq!(after(&[(0.0, 0)], 6), (None, None), "0 of 6 runs");
        assert_eq!(after(&[(0.0, 0), (90.0, 0)], 6), (None, None), "nothing done yet");
        assert_eq!(after(&[(0.0, 0), (0.2, 1)], 6), (None, None), "hardly begun");
        assert_eq!(after(&[(0.0, 0), (2.0, 1)], 6), (Some(0.5), Some(10.0)));
        assert_eq!(after(&[(0.0, 0), (2.0, 6)], 6), (Some(3.0), None), "done");
        assert_eq!(after(&[(0.0, 0), (2.0, 6)], 0), (Some(3.0), None), "no total");
    }

    #[test]
    fn what_was_resumed_does_not_count_as_done_now() {
        // 9 of 10 GB are there before the first second; then 50 MB in each.
        let samples: Vec<(f64, u64)> =
            (0..=10).map(|s| (f64::from(s), 9 * GB + u64::from(s as u32) * GB / 20)).collect();
        assert_eq!(after(&samples, 10 * GB), (Some(5e7), Some(10.0)));
    }

    #[test]
    fn another_count_begins_anew() {
        let checked = [(0.0, 0), (2.0, 4 * GB)];
        assert_eq!(after(&checked, 10 * GB).1, Some(3.0));
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut estimate = Estimate::default();
        estimate.observe(at(0), 0, 10);
        estimate.observe(at(2), 8, 10);
        estimate.observe(at(3), 8, 20);
        assert_eq!(estimate.left(at(3)), None, "another total");
        estimate.observe(at(5), 10, 20);
        assert_eq!(estimate.left(at(5)), Some(Duration::from_secs(10)));
        estimate.observe(at(6), 2, 20);
        assert_eq!(estimate.left(at(6)), None, "it fell");
    }

    #[test]
    fn threads_that_tell_out_of_order_do_not_hide_the_estimate() {
        let samples: Vec<(f64, u64)> = (1..=10)
            .flat_map(|s| [(f64::from(s), 10 * s as u64 + 3), (f64::from(s), 10 * s as u64)])
            .collect();
        assert_eq!(after(&samples, 203), (Some(10.0), Some(10.0)));
    }

    #[test]
    fn only_the_last_half_minute_counts() {
        // 100 a second for a minute, then 1 a second for two.
        let fast = (0..60).map(|s| (f64::from(s), u64::from(s as u32) * 100));
        let slow = (60..180).map(|s| (f64::from(s), 5900 + u64::from(s as u32) - 59));
        let (rate, left) = after(&fast.chain(slow).collect::<Vec<_>>(), 6120);
        assert_eq!((rate, left), (Some(1.0), Some(100.0)));
    }

    #[test]
    fn time_goes_on_between_samples_and_silence_ends_the_estimate() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut estimate = Estimate::default();
        estimate.observe(at(0), 0, 6);
        estimate.observe(at(60), 1, 6);
        assert_eq!(estimate.left(at(60)), Some(Duration::from_secs(300)));
        assert_eq!(estimate.left(at(90)), Some(Duration::from_secs(270)));
        assert_eq!(estimate.left(at(121)), None, "longer than a run has ever taken");
        assert_eq!(estimate.per_second(at(121)), None);
    }

    #[test]
    fn an_absurd_estimate_is_none() {
        assert_eq!(after(&[(0.0, 0), (3600.0, 1)], u64::MAX), (Some(1.0 / 3600.0), None));
        assert_eq!(after(&[(0.0, u64::MAX), (2.0, 0)], u64::MAX), (None, None));
    }

    #[test]
    fn times_in_words() {
        let words = |s: f64| in_words(Duration::from_secs_f64(s));
        assert_eq!(words(0.01), "1s");
        assert_eq!(words(59.5), "1m 0s");
        assert_eq!(words(250.0), "4m 10s");
        assert_eq!(words(7500.0), "2h 5m");
        assert_eq!(words(100_000.0), "1d 3h");
    }
}
