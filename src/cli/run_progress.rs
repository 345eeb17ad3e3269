//! Progress of a run on standard error: a live line per running step on a terminal, plain lines
//! elsewhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::{plain, template};
use super::{Globals, output};
use crate::exec::{RunObserver, StepReport};
use crate::plan::render::{duration, size};
use crate::state::Status;
use crate::steps::{Event, Level};

/// Pause between two plain progress lines of a step.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows a run.
pub struct RunProgress {
    view: View,
    verbose: bool,
}

enum View {
    Terminal {
        bars: MultiProgress,
        running: RefCell<HashMap<String, ProgressBar>>,
    },
    /// When the next line of each step is due.
    Plain {
        due: RefCell<HashMap<String, Instant>>,
    },
    Quiet,
}

impl RunProgress {
    /// As loud as `globals` say.
    pub fn new(globals: &Globals) -> Self {
        let view = if globals.quiet {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            View::Terminal { bars: MultiProgress::new(), running: RefCell::default() }
        } else {
            View::Plain { due: RefCell::default() }
        };
        Self { view, verbose: globals.verbose > 0 }
    }

    /// Takes the live lines off the terminal.
    pub fn finish(&self) {
        if let View::Terminal { bars, .. } = &self.view
            && bars.clear().is_err()
        {
            tracing::debug!("the terminal went away");
        }
    }

    fn line(&self, text: &str) {
        match &self.view {
            View::Terminal { bars, .. } => bars.suspend(|| output::note(text)),
            View::Plain { .. } | View::Quiet => output::note(text),
        }
    }
}

impl RunObserver for RunProgress {
    fn started(&self, step: &str) {
        match &self.view {
            View::Terminal { bars, running } => {
                let bar = ProgressBar::no_length()
                    .with_prefix(step.to_owned())
                    .with_style(styled("{prefix} {spinner} {elapsed} {wide_msg}"));
                let bar = bars.add(bar);
                bar.enable_steady_tick(Duration::from_millis(200));
                running.borrow_mut().insert(step.to_owned(), bar);
            }
            View::Plain { due } => {
                output::note(&format!("{step}: started"));
                due.borrow_mut().insert(step.to_owned(), Instant::now() + PLAIN_INTERVAL);
            }
            View::Quiet => {}
        }
    }

    fn event(&self, step: &str, event: &Event) {
        match (event, &self.view) {
            (Event::Progress { done, total, unit }, View::Terminal { running, .. }) => {
                let running = running.borrow();
                let Some(bar) = running.get(step) else { return };
                if bar.length() != Some(*total) {
                    bar.set_length(*total);
                    bar.set_style(styled(template(*total, *unit)));
                }
                bar.set_position(*done);
            }
            (Event::Progress { done, total, unit }, View::Plain { due }) => {
                let mut due = due.borrow_mut();
                let Some(due) = due.get_mut(step) else { return };
                if Instant::now() >= *due {
                    *due = Instant::now() + PLAIN_INTERVAL;
                    output::note(&format!("{step}: {}", plain(*done, *total, *unit)));
                }
            }
            (Event::Metric { name, value }, View::Terminal { running, .. }) => {
                if let Some(bar) = running.borrow().get(step) {
                    bar.set_message(format!("{name} {value:.2}"));
                }
            }
            (Event::Log { level: Level::Warn, message }, _) => {
                self.line(&format!(
                    "{step}: {} {message}",
                    style("warning:").yellow().for_stderr()
                ));
            }
            // The failure itself is told when the step ends.
            (Event::Log { level: Level::Info | Level::Debug, message }, _) if self.verbose => {
                self.line(&format!("{step}: {message}"));
            }
            _ => {}
        }
    }

    fn ended(&self, step: &StepReport) {
        if let View::Terminal { running, .. } = &self.view
            && let Some(bar) = running.borrow_mut().remove(&step.step)
        {
            bar.finish_and_clear();
        }
        let quiet = matches!(self.view, View::Quiet);
        if let Some(text) = describe(step).filter(|_| !quiet) {
            self.line(&text);
        }
    }
}

/// The line for a step that has ended; nothing for one that is fresh or skipped.
fn describe(step: &StepReport) -> Option<String> {
    let took = step.duration_ms.map_or(String::new(), |ms| format!(" after {}", duration(ms)));
    Some(match step.status {
        Status::Done => {
            let mut line = format!("{}: {}", step.step, style("done").green().for_stderr());
            if let Some(ms) = step.duration_ms {
                line.push_str(&format!(" in {}", duration(ms)));
            }
            if let Some(remark) = &step.remark {
                line.push_str(&format!(", {remark}"));
            }
            if step.written_bytes > 0 {
                line.push_str(&format!(", {} written", size(step.written_bytes)));
            }
            if let Some(rss) = step.peak_rss_bytes {
                line.push_str(&format!(", peak RSS {}", size(rss)));
            }
            line
        }
        Status::Failed => {
            format!("{}: {}{took}", step.step, style("failed").red().bold().for_stderr())
        }
        Status::Interrupted => format!("{}: interrupted{took}", step.step),
        Status::Fresh | Status::Skipped | Status::Running => return None,
    })
}

fn styled(template: &str) -> ProgressStyle {
    // The templates are constants, checked by a test: the default style never stands in for one.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
