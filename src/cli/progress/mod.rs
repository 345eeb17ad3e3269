//! Progress on standard error: a live line for each step that runs on a terminal, plain lines
//! elsewhere. Here that of one step, for the commands that work on a file at hand; that of a whole
//! run lies beside it.

mod estimate;
mod json;
mod overall;
mod run;
mod step;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::{Globals, output};
use crate::steps::{Event, EventSink, Level};
pub use json::{JsonEvents, PlannedStep, RunEvent, What, milliseconds};
pub use overall::{Expected, Overall};
pub use run::RunProgress;
use step::StepProgress;

/// Pause between two plain progress lines of a step.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the events of one step.
pub struct Progress {
    label: String,
    /// The lightest log line to show.
    least: Level,
    step: Arc<Mutex<StepProgress>>,
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
        let step = Arc::new(Mutex::new(StepProgress::new(label)));
        let view = if globals.quiet {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = live_line(&step);
            bar.enable_steady_tick(TICK);
            View::Terminal(bar)
        } else {
            View::Plain(Mutex::new(Instant::now() + PLAIN_INTERVAL))
        };
        let least = if globals.quiet { Level::Warn } else { least(globals.verbose.max(1)) };
        Self { label: label.to_owned(), least, step, view }
    }

    /// Takes the live line off the terminal.
    pub fn finish(&self) {
        if let View::Terminal(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        let text = format!("{}: {text}", self.label);
        match &self.view {
            View::Terminal(bar) => bar.suspend(|| output::note(&text)),
            View::Plain(_) | View::Quiet => output::note(&text),
        }
    }
}

impl EventSink for Progress {
    fn emit(&self, event: Event) {
        let now = Instant::now();
        locked(&self.step).event(&event, now);
        match event {
            Event::Progress { .. } => {
                if let View::Plain(due) = &self.view {
                    let mut due = locked(due);
                    if now >= *due {
                        *due = now + PLAIN_INTERVAL;
                        let plain = locked(&self.step).plain(now);
                        self.line(&plain);
                    }
                }
            }
            Event::Stage { doing: Some(doing) } if matches!(self.view, View::Plain(_)) => {
                self.line(&doing);
            }
            Event::Log { level, message } if level >= self.least => match level {
                Level::Debug | Level::Info => self.line(&message),
                Level::Warn => self.line(&format!("{} {message}", warning())),
                Level::Error => self.line(&format!("error: {message}")),
            },
            // The command that started the step prints what came of it.
            _ => {}
        }
    }
}

/// Pause between two drawings of a live line.
const TICK: Duration = Duration::from_millis(200);

/// A live line that shows `step` as it is whenever it is drawn.
fn live_line(step: &Arc<Mutex<StepProgress>>) -> ProgressBar {
    let step = Arc::clone(step);
    drawn(move |width| locked(&step).live(width, Instant::now()))
}

/// A live line that says what `text` makes of its width.
fn drawn(text: impl Fn(usize) -> String + Clone + Send + Sync + 'static) -> ProgressBar {
    let draw = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        // The last column stays free: a full line would wrap on some terminals.
        let width = usize::from(console::Term::stderr().size().1).saturating_sub(1);
        // A line that cannot be drawn is drawn again soon.
        let _ = out.write_str(&text(width));
    };
    // The template is a constant: the default style never stands in for it.
    let style = ProgressStyle::with_template("{line}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("line", draw);
    ProgressBar::no_length().with_style(style)
}

/// What is behind a lock; a thread that died with it left whole values.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lightest log line that is shown: warnings, with `-v` what a step found and did, with `-vv`
/// every tensor. A command on a file at hand says from the start what it found and did.
fn least(verbose: u8) -> Level {
    match verbose {
        0 => Level::Warn,
        1 => Level::Info,
        _ => Level::Debug,
    }
}

fn warning() -> console::StyledObject<&'static str> {
    console::style("warning:").yellow().for_stderr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one_that_indicatif_takes() {
        assert!(ProgressStyle::with_template("{line}").is_ok());
    }
}
