//! One step as a line: how far it is, how fast, how long it still takes. Knows nothing of where the
//! line is drawn.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use console::measure_text_width;

use super::estimate::{Estimate, in_words};
use crate::steps::{Event, Unit};

/// Columns of a bar at least and at most.
const BAR: (usize, usize) = (8, 24);

/// What is known of a step that runs.
#[derive(Debug)]
pub struct StepProgress {
    name: String,
    started: Instant,
    /// How far it is, and of how much; the total is zero where it is not known.
    amount: Option<(u64, u64, Unit)>,
    estimate: Estimate,
    /// What it does before or beside its work.
    stage: Option<String>,
    metric: Option<String>,
}

impl StepProgress {
    /// A step that starts now.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            started: Instant::now(),
            amount: None,
            estimate: Estimate::default(),
            stage: None,
            metric: None,
        }
    }

    /// Takes in what the step says at the time `now`.
    pub fn event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Progress { done, total, unit } => {
                self.amount = Some((*done, *total, *unit));
                self.estimate.observe(now, *done, *total);
            }
            Event::Stage { doing } => {
                self.stage.clone_from(doing);
                self.amount = None;
                self.estimate = Estimate::default();
            }
            Event::Metric { name, value } => self.metric = Some(format!("{name} {value:.2}")),
            Event::Log { .. } | Event::Result { .. } | Event::Failed { .. } => {}
        }
    }

    /// The step's name, the time since it began, and how long it thinks that it still takes. A
    /// stage is not the whole of it.
    pub fn expectation(&self, now: Instant) -> (&str, Duration, Option<Duration>) {
        let left = self.estimate.left(now).filter(|_| self.stage.is_none());
        (&self.name, now.duration_since(self.started), left)
    }

    /// How much is done in a second, by its unit, where that is known.
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        self.estimate.per_second(now)
    }

    /// How far it is, how fast, how long it still takes: as much as is known.
    fn parts(&self, now: Instant) -> Parts {
        let mut parts = Parts { stage: self.stage.clone(), ..Parts::default() };
        if let Some((done, total, unit)) = self.amount {
            parts.amount = match &self.stage {
                // Its words say of how much.
                Some(_) => (total > 0).then(|| format!("{}%", percent(done, total))),
                None => Some(amount(done, total, unit)),
            };
            parts.share = (total > 0).then(|| done as f64 / total as f64);
            parts.rate = self.estimate.per_second(now).and_then(|rate| per_second(rate, unit));
            parts.left = self.estimate.left(now).map(|left| format!("{} left", in_words(left)));
        }
        parts
    }

    /// A line without anything drawn, nor the name.
    pub fn plain(&self, now: Instant) -> String {
        let Parts { stage, amount, rate, left, .. } = self.parts(now);
        let running = || format!("for {}", in_words(now.duration_since(self.started)));
        let known: Vec<String> = [stage, amount, rate, left].into_iter().flatten().collect();
        if known.is_empty() { running() } else { known.join(", ") }
    }

    /// A line with a bar, of at most `width` columns: what matters least goes first, and the name is
    /// cut with a sign.
    pub fn live(&self, width: usize, now: Instant) -> String {
        let Parts { stage, amount, rate, left, share } = self.parts(now);
        let elapsed = || in_words(now.duration_since(self.started));
        let first = amount.or_else(|| share.is_none().then(elapsed));
        // By how soon they may go, last first.
        let mut known: Vec<(u8, String)> =
            [(1, stage), (0, first), (3, rate), (2, left), (4, self.metric.clone())]
                .into_iter()
                .filter_map(|(weight, part)| Some((weight, part?)))
                .collect();
        let joined = |known: &[(u8, String)]| {
            known.iter().map(|(_, part)| part.as_str()).collect::<Vec<_>>().join(", ")
        };
        let name = measure_text_width(&self.name);
        while known.len() > 1 && name + 1 + measure_text_width(&joined(&known)) > width {
            let least = known.iter().map(|(weight, _)| *weight).max();
            known.retain(|(weight, _)| Some(*weight) != least);
        }
        let text = joined(&known);
        let room = width.saturating_sub(name + 2 + measure_text_width(&text)).min(BAR.1);
        let line = match share {
            Some(share) if room >= BAR.0 => format!("{} {} {text}", self.name, bar(share, room)),
            _ => format!("{} {text}", self.name),
        };
        console::truncate_str(&line, width, "...").into_owned()
    }
}

#[derive(Default)]
struct Parts {
    stage: Option<String>,
    amount: Option<String>,
    rate: Option<String>,
    left: Option<String>,
    /// From 0 to 1.
    share: Option<f64>,
}

/// A bar of `columns`, filled to `share`.
pub fn bar(share: f64, columns: usize) -> String {
    let full = ((share * columns as f64) as usize).min(columns);
    format!("{}{}", "█".repeat(full), "░".repeat(columns - full))
}

fn percent(done: u64, total: u64) -> u128 {
    u128::from(done) * 100 / u128::from(total).max(1)
}

/// `1.5 MB of 3.0 MB (50%)` and its likes.
fn amount(done: u64, total: u64, unit: Unit) -> String {
    let number = |n: u64| match unit {
        Unit::Bytes => ByteSize(n).display().si().to_string(),
        Unit::Tensors | Unit::Tokens | Unit::Runs => n.to_string(),
    };
    let name = match unit {
        Unit::Bytes => "",
        Unit::Tensors => " tensors",
        Unit::Tokens => " tokens",
        Unit::Runs => " runs",
    };
    if total == 0 {
        return format!("{}{name}", number(done));
    }
    format!("{} of {}{name} ({}%)", number(done), number(total), percent(done, total))
}

/// `344 MB/s`, `12.3 tokens/s`; nothing for what is counted in few.
fn per_second(rate: f64, unit: Unit) -> Option<String> {
    match unit {
        Unit::Bytes => Some(format!("{}/s", ByteSize(rate as u64).display().si())),
        Unit::Tokens if rate < 100.0 => Some(format!("{rate:.1} tokens/s")),
        Unit::Tokens => Some(format!("{rate:.0} tokens/s")),
        Unit::Tensors | Unit::Runs => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: &StepProgress, seconds: u64) -> Instant {
        step.started + Duration::from_secs(seconds)
    }

    fn progress(done: u64, total: u64, unit: Unit) -> Event {
        Event::Progress { done, total, unit }
    }

    /// A step that goes on behind 3.5 of 11.6 GB, with 300 MB a second.
    fn resumed() -> (StepProgress, Instant) {
        let mut step = StepProgress::new("quantize:q4_K-latency");
        for second in 0..=10 {
            let done = 3_500_000_000 + second * 300_000_000;
            step.event(&progress(done, 11_600_000_000, Unit::Bytes), at(&step, second));
        }
        let now = at(&step, 10);
        (step, now)
    }

    #[test]
    fn plain_lines_say_how_far_it_is() {
        let (step, now) = resumed();
        assert_eq!(step.plain(now), "6.5 GB of 11.6 GB (56%), 300.0 MB/s, 17s left");
        let mut step = StepProgress::new("bench:q4_K_M");
        assert_eq!(step.plain(at(&step, 12)), "for 12s");
        step.event(&progress(0, 6, Unit::Runs), at(&step, 12));
        assert_eq!(step.plain(at(&step, 12)), "0 of 6 runs (0%)");
        step.event(&progress(1, 6, Unit::Runs), at(&step, 22));
        assert_eq!(step.plain(at(&step, 24)), "1 of 6 runs (16%), 48s left");
        step.event(&progress(3, 0, Unit::Tokens), at(&step, 24));
        assert_eq!(step.plain(at(&step, 24)), "3 tokens");
        step.event(&progress(u64::MAX, u64::MAX, Unit::Runs), at(&step, 24));
        assert!(step.plain(at(&step, 24)).ends_with("(100%)"));
    }

    #[test]
    fn a_stage_is_told_and_its_rate_is_not_that_of_the_work() {
        let mut step = StepProgress::new("quantize:q8_0");
        let doing = Some("checking 3.5 GB already written".to_owned());
        step.event(&Event::Stage { doing }, at(&step, 0));
        step.event(&progress(0, 3_500_000_000, Unit::Bytes), at(&step, 0));
        step.event(&progress(1_000_000_000, 3_500_000_000, Unit::Bytes), at(&step, 2));
        let now = at(&step, 2);
        assert_eq!(step.plain(now), "checking 3.5 GB already written, 28%, 500.0 MB/s, 5s left");
        assert_eq!(step.expectation(now).2, None, "that of the step is not known");
        step.event(&Event::Stage { doing: None }, now);
        step.event(&progress(3_500_000_000, 9_000_000_000, Unit::Bytes), now);
        assert_eq!(step.plain(now), "3.5 GB of 9.0 GB (38%)");
    }

    #[test]
    fn a_live_line_fits_whatever_the_width() {
        let (mut step, now) = resumed();
        assert_eq!(
            step.live(100, now),
            "quantize:q4_K-latency █████████████░░░░░░░░░░░ 6.5 GB of 11.6 GB (56%), 300.0 MB/s, 17s left"
        );
        assert_eq!(
            step.live(80, now),
            "quantize:q4_K-latency ██████░░░░░░ 6.5 GB of 11.6 GB (56%), 300.0 MB/s, 17s left"
        );
        assert_eq!(step.live(60, now), "quantize:q4_K-latency 6.5 GB of 11.6 GB (56%), 17s left");
        assert_eq!(step.live(40, now), "quantize:q4_K-latency 6.5 GB of 11.6 ...");
        step.event(&Event::Metric { name: "kl_divergence".into(), value: 0.0125 }, now);
        for width in 4..120 {
            let line = step.live(width, now);
            assert!(measure_text_width(&line) <= width, "{width}: {line}");
        }
        let doing = Some("checking 3.5 GB already written".to_owned());
        step.event(&Event::Stage { doing }, now);
        assert_eq!(
            step.live(80, now),
            "quantize:q4_K-latency checking 3.5 GB already written, 10s, kl_divergence 0.01"
        );
    }
}
