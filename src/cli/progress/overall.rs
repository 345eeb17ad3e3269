//! How far a whole run is: which step of how many, and how long all of them still take. Knows only
//! how long steps took, here or in earlier runs.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long a step is expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// As long as in an earlier run.
    Took(Duration),
    /// By its sizes and the machine's speed.
    About(Duration),
}

/// The steps of a run that are to run, and those that have ended.
#[derive(Debug, Default)]
pub struct Overall {
    /// Steps that are to run and have not ended, with how long each is expected to take.
    ahead: BTreeMap<String, Option<Expected>>,
    /// Steps that were to run and have ended.
    ended: usize,
    /// By kind, how long steps took: their number and the sum.
    kinds: BTreeMap<String, (u32, Duration)>,
    /// By kind, what steps took that were estimated, and what had been said.
    estimated: BTreeMap<String, (Duration, Duration)>,
}

impl Overall {
    /// Of a run of these steps, by id, each with how long it is expected to take.
    pub fn new(steps: impl IntoIterator<Item = (String, Option<Expected>)>) -> Self {
        let mut overall = Self::default();
        for (step, expected) in steps {
            if let Some(Expected::Took(took)) = expected {
                overall.note(&step, Some(took));
            }
            overall.ahead.insert(step, expected);
        }
        overall
    }

    /// A step of one kind takes about as long as another: what differs is the format.
    fn note(&mut self, step: &str, took: Option<Duration>) {
        if let Some(took) = took {
            let (number, sum) = self.kinds.entry(kind(step).to_owned()).or_default();
            *number += 1;
            *sum += took;
        }
    }

    /// A step has ended, which took `took` if it ran.
    pub fn end(&mut self, step: &str, took: Option<Duration>) {
        if let Some(expected) = self.ahead.remove(step) {
            self.ended += 1;
            if let (Some(Expected::About(said)), Some(took)) = (expected, took) {
                let (all_took, all_said) = self.estimated.entry(kind(step).to_owned()).or_default();
                *all_took += took;
                *all_said += said;
            }
            self.note(step, took);
        }
    }

    /// How many steps have ended, of how many that were to run.
    pub fn steps(&self) -> (usize, usize) {
        (self.ended, self.ended + self.ahead.len())
    }

    /// How long a step that has not begun will take.
    fn expected(&self, step: &str) -> Option<Duration> {
        match self.ahead.get(step).copied().flatten() {
            Some(Expected::Took(took)) => Some(took),
            Some(Expected::About(said)) => Some(self.corrected(step, said)),
            None => self.kinds.get(kind(step)).map(|(number, sum)| *sum / *number),
        }
    }

    /// An estimate, by how far those of its kind were off.
    fn corrected(&self, step: &str, said: Duration) -> Duration {
        match self.estimated.get(kind(step)) {
            Some((took, all_said)) if !all_said.is_zero() => {
                said.mul_f64(took.as_secs_f64() / all_said.as_secs_f64())
            }
            _ => said,
        }
    }

    /// How long all steps still take; nothing as long as that of one is not known. `running` has
    /// those that run, with the time since they began and what they themselves expect.
    pub fn left(&self, running: &[(&str, Duration, Option<Duration>)]) -> Option<Duration> {
        let mut left = Duration::ZERO;
        for step in self.ahead.keys() {
            left += match running.iter().find(|(name, ..)| name == step) {
                Some((_, _, Some(own))) => *own,
                // One that takes longer than the last time may be done at any moment, or not.
                Some((_, elapsed, None)) => self.expected(step)?.checked_sub(*elapsed)?,
                None => self.expected(step)?,
            };
        }
        (!left.is_zero()).then_some(left)
    }
}

/// `quantize` of `quantize:q4_K_M`.
fn kind(step: &str) -> &str {
    step.split(':').next().unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn overall(steps: &[(&str, Option<u64>)]) -> Overall {
        let took = |took: &Option<u64>| took.map(s).map(Expected::Took);
        Overall::new(steps.iter().map(|(step, seconds)| ((*step).to_owned(), took(seconds))))
    }

    #[test]
    fn an_estimate_is_corrected_by_those_of_its_kind() {
        let about = |step: &str, seconds| (step.to_owned(), Some(Expected::About(s(seconds))));
        let mut overall =
            Overall::new([about("quantize:a", 10), about("quantize:b", 20), about("report", 1)]);
        assert_eq!(overall.left(&[]), Some(s(31)));
        overall.end("quantize:a", Some(s(30)));
        assert_eq!(overall.left(&[]), Some(s(61)), "three times as long as was said");
        overall.end("quantize:b", None);
        assert_eq!(overall.left(&[]), Some(s(1)), "others are not concerned");
    }

    #[test]
    fn what_earlier_runs_took_is_what_is_left() {
        let mut overall =
            overall(&[("convert", Some(40)), ("quantize:a", Some(30)), ("quantize:b", Some(20))]);
        assert_eq!((overall.steps(), overall.left(&[])), ((0, 3), Some(s(90))));
        // One that runs knows better, or is as far as its time says.
        assert_eq!(overall.left(&[("convert", s(5), Some(s(100)))]), Some(s(150)));
        assert_eq!(overall.left(&[("convert", s(5), None)]), Some(s(85)));
        assert_eq!(overall.left(&[("convert", s(41), None)]), None, "overdue");
        overall.end("convert", Some(s(60)));
        assert_eq!((overall.steps(), overall.left(&[])), ((1, 3), Some(s(50))));
        overall.end("verify", None);
        assert_eq!(overall.steps(), (1, 3), "it was not to run");
        overall.end("quantize:a", None);
        overall.end("quantize:b", None);
        assert_eq!((overall.steps(), overall.left(&[])), ((3, 3), None));
    }

    #[test]
    fn a_step_of_the_same_kind_stands_in_and_nothing_else_does() {
        let mut overall =
            overall(&[("quantize:a", None), ("quantize:b", None), ("report", Some(1))]);
        assert_eq!(overall.left(&[]), None);
        assert_eq!(overall.left(&[("quantize:a", s(9), Some(s(9)))]), None);
        overall.end("quantize:a", Some(s(30)));
        assert_eq!(overall.left(&[]), Some(s(31)));
    }
}
