//! Progress of one step on standard error: a live line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Globals, output};
use crate::steps::{Event, EventSink, Level, Unit};

/// Pause between two plain progress lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the events of one step.
pub struct Progress {
    label: String,
    /// The lightest log line to show.
    least: Level,
    view: View,
}

enum View {
    Terminal(ProgressBar),
    /// When the next plain line is due.
    Plain(Mutex<Instant>),
    Quiet,
}

impl Progress {
    /// Progress under `label`, as loud as `globals` say.
    pub fn new(label: &str, globals: &Globals) -> Self {
        let view = if globals.quiet {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length();
            bar.set_prefix(label.to_owned());
            bar.set_style(style("{prefix} {spinner} {elapsed} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            View::Terminal(bar)
        } else {
            View::Plain(Mutex::new(Instant::now() + PLAIN_INTERVAL))
        };
        let least = match (globals.quiet, globals.verbose) {
            (true, _) => Level::Warn,
            (false, 0) => Level::Info,
            (false, _) => Level::Debug,
        };
        Self { label: label.to_owned(), least, view }
    }

    /// Takes the live line off the terminal.
    pub fn finish(&self) {
        if let View::Terminal(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    fn progress(&self, done: u64, total: u64, unit: Unit) {
        match &self.view {
            View::Terminal(bar) => {
                if bar.length() != Some(total) {
                    bar.set_length(total);
                    bar.set_style(style(template(total, unit)));
                }
                bar.set_position(done);
            }
            View::Plain(due) => {
                let Ok(mut due) = due.lock() else { return };
                if Instant::now() >= *due {
                    *due = Instant::now() + PLAIN_INTERVAL;
                    output::note(&format!("{}: {}", self.label, plain(done, total, unit)));
                }
            }
            View::Quiet => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.view {
            View::Terminal(bar) => bar.suspend(|| output::note(&format!("{}: {text}", self.label))),
            View::Plain(_) | View::Quiet => output::note(&format!("{}: {text}", self.label)),
        }
    }
}

impl EventSink for Progress {
    fn emit(&self, event: Event) {
        match event {
            Event::Progress { done, total, unit } => self.progress(done, total, unit),
            Event::Log { level, message } if weight(level) >= weight(self.least) => match level {
                Level::Debug | Level::Info => self.line(&message),
                Level::Warn => self.line(&format!("warning: {message}")),
                Level::Error => self.line(&format!("error: {message}")),
            },
            Event::Metric { name, value } => {
                if let View::Terminal(bar) = &self.view {
                    bar.set_message(format!("{name} {value:.2}"));
                }
            }
            // The command that started the step prints what came of it.
            Event::Log { .. } | Event::Result { .. } | Event::Failed { .. } => {}
        }
    }
}

fn weight(level: Level) -> u8 {
    match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    }
}

/// indicatif's template for a live line that counts `unit`.
pub fn template(total: u64, unit: Unit) -> &'static str {
    match (unit, total) {
        (_, 0) => "{prefix} {spinner} {elapsed} {wide_msg}",
        (Unit::Bytes, _) => {
            "{prefix} {bar:24} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left {wide_msg}"
        }
        (Unit::Tokens, _) => {
            "{prefix} {bar:24} {pos} of {len} tokens, {per_sec}, {eta} left {wide_msg}"
        }
        (Unit::Tensors, _) => "{prefix} {bar:24} {pos} of {len} tensors, {eta} left {wide_msg}",
        (Unit::Runs, _) => "{prefix} {bar:24} {pos} of {len} runs, {eta} left {wide_msg}",
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants, checked by a test: the default style never stands in for one.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// `12.0 MiB of 1.3 GiB (1%)` and its likes.
pub fn plain(done: u64, total: u64, unit: Unit) -> String {
    let amount = |n: u64| match unit {
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
        return format!("{}{name}", amount(done));
    }
    let percent = u128::from(done) * 100 / u128::from(total);
    format!("{} of {}{name} ({percent}%)", amount(done), amount(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 4] = [Unit::Bytes, Unit::Tensors, Unit::Tokens, Unit::Runs];

    #[test]
    fn every_template_is_one_that_indicatif_takes() {
        for unit in UNITS {
            for total in [0, 10] {
                assert!(ProgressStyle::with_template(template(total, unit)).is_ok(), "{unit:?}");
            }
        }
    }

    #[test]
    fn plain_lines_say_how_far_it_is() {
        assert_eq!(plain(1_500_000, 3_000_000, Unit::Bytes), "1.5 MB of 3.0 MB (50%)");
        assert_eq!(plain(3, 0, Unit::Tokens), "3 tokens");
        assert_eq!(plain(u64::MAX, u64::MAX, Unit::Runs).split_once('(').unwrap().1, "100%)");
    }
}
