//! Progress of a run on standard error: on a terminal a live line for each step that runs and one
//! for all, plain lines elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use console::style;
use indicatif::{MultiProgress, ProgressBar};

use super::estimate::in_words;
use super::step::{StepProgress, bar};
use super::{Overall, PLAIN_INTERVAL, TICK, drawn, least, live_line, locked, warning};
use crate::cli::{Globals, output};
use crate::exec::{RunObserver, StepReport};
use crate::plan::render::{duration, size};
use crate::state::Status;
use crate::steps::{Event, Level};

/// Shows a run.
pub struct RunProgress {
    view: View,
    verbose: u8,
    known: Arc<Mutex<Known>>,
}

enum View {
    Terminal {
        bars: MultiProgress,
        running: RefCell<BTreeMap<String, ProgressBar>>,
        /// The line for all.
        all: ProgressBar,
    },
    /// When the next line of each step is due.
    Plain {
        due: RefCell<BTreeMap<String, Instant>>,
    },
    Quiet,
}

/// What is known of a run.
struct Known {
    overall: Overall,
    running: BTreeMap<String, Arc<Mutex<StepProgress>>>,
}

impl Known {
    /// How long all steps still take.
    fn left(&self, now: Instant) -> Option<Duration> {
        let steps: Vec<_> = self.running.values().map(|step| locked(step)).collect();
        let expectations: Vec<_> = steps.iter().map(|step| step.expectation(now)).collect();
        self.overall.left(&expectations)
    }

    /// `3 of 32 steps, 4m 10s left for all`, with a bar where there is room.
    fn line(&self, width: usize, now: Instant) -> String {
        let (ended, all) = self.overall.steps();
        let left = self.left(now).map(|left| format!(", {} left for all", in_words(left)));
        let text = format!("{ended} of {all} steps done{}", left.unwrap_or_default());
        let text = console::truncate_str(&text, width, "...").into_owned();
        let room = width.saturating_sub(text.len() + 1).min(24);
        if room < 8 {
            return text;
        }
        format!("{} {text}", bar(ended as f64 / all.max(1) as f64, room))
    }
}

impl RunProgress {
    /// Of the steps in `overall`, as loud as `globals` say.
    pub fn new(globals: &Globals, overall: Overall) -> Self {
        let known = Arc::new(Mutex::new(Known { overall, running: BTreeMap::new() }));
        let view = if globals.quiet {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            let of_all = Arc::clone(&known);
            let all = drawn(move |width| locked(&of_all).line(width, Instant::now()));
            let bars = MultiProgress::new();
            let all = bars.add(all);
            View::Terminal { bars, running: RefCell::default(), all }
        } else {
            View::Plain { due: RefCell::default() }
        };
        Self { view, verbose: globals.verbose, known }
    }

    /// Takes the live lines off the terminal.
    pub fn finish(&self) {
        if let View::Terminal { bars, all, .. } = &self.view {
            all.finish_and_clear();
            if bars.clear().is_err() {
                tracing::debug!("the terminal went away");
            }
        }
    }

    fn line(&self, text: &str) {
        match &self.view {
            View::Terminal { bars, .. } => bars.suspend(|| output::note(text)),
            View::Plain { .. } | View::Quiet => output::note(text),
        }
    }

    /// A line on how far a step is, and how long all of them still take.
    fn plain(&self, step: &str, now: Instant) {
        let known = locked(&self.known);
        let Some(progress) = known.running.get(step) else { return };
        let own = locked(progress).plain(now);
        let (ended, steps) = known.overall.steps();
        let all = match known.left(now) {
            Some(left) => format!("{ended} of {steps} steps done, {} left for all", in_words(left)),
            None => format!("{ended} of {steps} steps done"),
        };
        output::note(&format!("{step}: {own}; {all}"));
    }
}

impl RunObserver for RunProgress {
    fn started(&self, step: &str) {
        let progress = Arc::new(Mutex::new(StepProgress::new(step)));
        locked(&self.known).running.insert(step.to_owned(), Arc::clone(&progress));
        match &self.view {
            View::Terminal { bars, running, all } => {
                let bar = bars.insert_before(all, live_line(&progress));
                bar.enable_steady_tick(TICK);
                all.enable_steady_tick(TICK);
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
        let now = Instant::now();
        if let Some(progress) = locked(&self.known).running.get(step) {
            locked(progress).event(event, now);
        }
        match (event, &self.view) {
            (Event::Progress { .. }, View::Plain { due }) => {
                let mut due = due.borrow_mut();
                let Some(due) = due.get_mut(step) else { return };
                if now >= *due {
                    *due = now + PLAIN_INTERVAL;
                    self.plain(step, now);
                }
            }
            (Event::Stage { doing: Some(doing) }, View::Plain { .. }) => {
                output::note(&format!("{step}: {doing}"));
            }
            // The failure itself is told when the step ends.
            (Event::Log { level: Level::Error, .. }, _) => {}
            (Event::Log { level: Level::Warn, message }, _) => {
                self.line(&format!("{step}: {} {message}", warning()));
            }
            (Event::Log { level, message }, _) if *level >= least(self.verbose) => {
                self.line(&format!("{step}: {message}"));
            }
            _ => {}
        }
    }

    fn ended(&self, step: &StepReport) {
        let took =
            step.duration_ms.and_then(|ms| u64::try_from(ms).ok().map(Duration::from_millis));
        let steps = {
            let mut known = locked(&self.known);
            known.running.remove(&step.step);
            known.overall.end(&step.step, took.filter(|_| step.status == Status::Done));
            known.overall.steps()
        };
        if let View::Terminal { running, .. } = &self.view
            && let Some(bar) = running.borrow_mut().remove(&step.step)
        {
            bar.finish_and_clear();
        }
        let quiet = matches!(self.view, View::Quiet);
        if let Some(text) = describe(step, steps, self.verbose > 0).filter(|_| !quiet) {
            self.line(&text);
        }
    }
}

/// The line for a step that has ended; for one that is fresh or skipped only where more is to be
/// said.
fn describe(step: &StepReport, (ended, steps): (usize, usize), verbose: bool) -> Option<String> {
    let name = &step.step;
    let took = step.duration_ms.map_or(String::new(), |ms| format!(" after {}", duration(ms)));
    Some(match step.status {
        Status::Done => {
            let digits = steps.to_string().len();
            let done = style("done").green().for_stderr();
            let mut line = format!("[{ended:digits$}/{steps}] {name}: {done}");
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
            format!("{name}: {}{took}", style("failed").red().bold().for_stderr())
        }
        Status::Interrupted => format!("{name}: interrupted{took}"),
        Status::Skipped if verbose => {
            format!("{name}: skipped: {}", step.message.as_deref().unwrap_or("no reason given"))
        }
        Status::Fresh if verbose => format!("{name}: fresh"),
        Status::Fresh | Status::Skipped | Status::Running => return None,
    })
}
