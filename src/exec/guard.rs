//! What a worker does around its step so that a success is delivered once, an unfinished output is
//! found again, and nothing that somebody else put under its output's name is lost. It never opens the
//! database: what the runner knows stands in the order.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::order::Record;
use super::outbox::{self, Delivery, Stamped};
use crate::files::{Stamp, kept_name, now_ms};
use crate::host::rss::Memory;
use crate::state::{self, Attempt, Lock};
use crate::steps::{ErrorClass, Event, EventSink, Level, StepError, StepSpec};

/// How long a worker waits for another that does the same step, such as one that outlived its
/// runner for a moment.
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A step whose lock is held and whose success will be delivered.
pub struct Guard<'a> {
    record: &'a Record,
    spec: StepSpec,
    events: &'a dyn EventSink,
    _lock: Lock,
    /// Stamps of the files that the step reads, taken before it does.
    before: Vec<(Utf8PathBuf, Stamp)>,
    /// Files of unknown origin that stood under the outputs' names, and where they are meanwhile.
    aside: Vec<(Utf8PathBuf, Utf8PathBuf)>,
    started_ms: i64,
}

impl<'a> Guard<'a> {
    /// Takes the step's lock.
    pub fn open(
        record: &'a Record,
        spec: &StepSpec,
        events: &'a dyn EventSink,
    ) -> Result<Self, StepError> {
        let path = state::directory(&record.workspace).join("locks").join(record.short_name());
        let started = std::time::Instant::now();
        let lock = loop {
            match Lock::attempt(&path, &record.step)? {
                Attempt::Locked(lock) => break lock,
                Attempt::HeldBy(holder) if started.elapsed() > LOCK_PATIENCE => {
                    return Err(StepError::new(
                        ErrorClass::Step,
                        format!(
                            "{holder} works on the same step; wait for it to end, or stop it, and \
                             run again"
                        ),
                    ));
                }
                Attempt::HeldBy(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
            }
        };
        Ok(Self {
            record,
            spec: spec.clone(),
            events,
            _lock: lock,
            before: Vec::new(),
            aside: Vec::new(),
            started_ms: now_ms(),
        })
    }

    /// The result of a success that is delivered and whose files are as it left them.
    pub fn delivered(&self) -> Result<Option<Value>, StepError> {
        let path = outbox::path(self.record);
        let delivery = Delivery::read(&path).filter(|_| !self.record.redo);
        let Some(delivery) = delivery else { return Ok(None) };
        let outs = self.spec.model_files()?;
        let wrote = |out: &Utf8PathBuf| delivery.outputs.iter().any(|o| o.file.path == *out);
        if !outs.iter().all(wrote) || !delivery.outputs.iter().all(Stamped::is_unchanged) {
            return Ok(None);
        }
        self.log(Level::Info, "done already, by a worker that outlived its runner");
        Ok(Some(delivery.result))
    }

    /// Directory for journals.
    pub fn journals(&self) -> Utf8PathBuf {
        state::directory(&self.record.workspace).join("journals")
    }

    /// The specification, as it is to be run.
    pub fn spec(&self) -> &StepSpec {
        &self.spec
    }

    /// Makes room for what is going to be written, and looks at what is going to be read.
    pub fn prepare(mut self) -> Result<Self, StepError> {
        self.look_at_inputs()?;
        for out in self.spec.model_files()? {
            self.make_room(&out)?;
        }
        Ok(self)
    }

    /// Takes the stamps of what is going to be read; a wait for a free machine may have been long
    /// since the key was made.
    fn look_at_inputs(&mut self) -> Result<(), StepError> {
        for claim in &self.record.reads {
            match Stamp::of(&claim.path) {
                Ok(Some(stamp)) if claim.holds(&stamp) => {
                    self.before.push((claim.path.clone(), stamp));
                }
                _ => return Err(changed(&claim.path)),
            }
        }
        for path in self.spec.hashes() {
            // A file that cannot be looked at is the step's own error.
            if let Ok(Some(stamp)) = Stamp::of(&path) {
                self.before.push((path, stamp));
            }
        }
        for (_, stamp) in &self.before {
            // A change right after this must show in the stamp.
            stamp.settle();
        }
        self.check_unchanged()
    }

    /// Lets the step replace a file that this workspace's records know, and moves any other out of
    /// the way: nothing is lost because it had the wrong name.
    fn make_room(&mut self, path: &Utf8Path) -> Result<(), StepError> {
        let there = Stamp::of(path).map_err(|e| {
            StepError::new(ErrorClass::Host, format!("cannot look at {path}, to be written: {e}"))
        })?;
        let Some(stamp) = there else { return Ok(()) };
        let ours = self.record.replaces.iter().find(|claim| claim.path == *path);
        if ours.is_some_and(|claim| claim.holds(&stamp)) {
            if let Some(out) = self.spec.out() {
                out.replace = true;
            }
            return Ok(());
        }
        let aside = kept_name(path);
        rename(path, &aside)?;
        self.log(
            Level::Warn,
            format!("{path} is not on record here; kept as {aside} until the new one is there"),
        );
        self.aside.push((path.to_owned(), aside));
        Ok(())
    }

    /// Delivers the success of a step that was done together with others, `shared_by` with itself.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if something that the step read changed meanwhile: what it wrote is
    /// removed then; or if the delivery cannot be written.
    pub fn deliver(self, result: Value, shared_by: usize) -> Result<Value, StepError> {
        let effects = self.spec.effects(&result)?;
        if let Err(error) = self.check_unchanged() {
            return Err(self.withdraw(error, &effects.made_of_inputs));
        }
        let hashed = effects.hashed.into_iter().map(|file| {
            let found = self.before.iter().find(|(path, _)| *path == file.path);
            Stamped { stamp: found.map(|(_, stamp)| *stamp), file }
        });
        let delivery = Delivery {
            record: self.record.clone(),
            outputs: effects.outputs.into_iter().map(Stamped::now).collect(),
            hashed: hashed.collect(),
            result,
            started_ms: self.started_ms,
            duration_ms: (now_ms() - self.started_ms) / shared_by.max(1) as i64,
            peak_rss_bytes: Memory::now().map(|memory| memory.peak_rss),
        };
        delivery.leave()?;
        for (out, aside) in &self.aside {
            self.settle_aside(out, aside);
        }
        Ok(delivery.result)
    }

    /// A result made from something else than its key says is worth nothing.
    fn check_unchanged(&self) -> Result<(), StepError> {
        let mut before = self.before.iter();
        match before.find(|(path, stamp)| Stamp::of(path).ok().flatten() != Some(*stamp)) {
            None => Ok(()),
            Some((path, _)) => Err(changed(path)),
        }
    }

    /// Removes what was put aside if the step wrote the same bytes again.
    fn settle_aside(&self, out: &Utf8Path, aside: &Utf8Path) {
        match same_bytes(out, aside) {
            Ok(true) => match std::fs::remove_file(aside) {
                Ok(()) => {
                    self.log(Level::Info, format!("{aside} held the same bytes and is removed"));
                }
                Err(e) => self.log(Level::Warn, format!("cannot remove {aside}: {e}")),
            },
            Ok(false) => {
                self.log(Level::Warn, format!("{aside} holds other bytes than {out} and stays"));
            }
            Err(e) => self.log(Level::Warn, format!("cannot compare {aside} with {out}: {e}")),
        }
    }

    /// Removes what the step just `made` of a mixture of inputs. Puts things back and hands the
    /// failure on.
    fn withdraw(self, mut error: StepError, made: &[Utf8PathBuf]) -> StepError {
        for out in made {
            if let Err(e) = std::fs::remove_file(out) {
                let note = format!("; cannot remove {out}, which is worth nothing: {e}");
                error.message.push_str(&note);
            }
        }
        self.abandon(error)
    }

    /// Puts things back after a failure, and hands the failure on.
    pub fn abandon(self, mut error: StepError) -> StepError {
        for (out, aside) in &self.aside {
            if !out.exists()
                && let Err(e) = rename(aside, out)
            {
                error.message.push_str(&format!("; {e}"));
            }
        }
        error
    }

    fn log(&self, level: Level, message: impl Into<String>) {
        self.events.emit(Event::Log { level, message: message.into() });
    }
}

fn changed(path: &Utf8Path) -> StepError {
    StepError::new(
        ErrorClass::Input,
        format!("{path} was changed while this step read it, or waited for its turn; run again"),
    )
}

fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), StepError> {
    std::fs::rename(from, to)
        .map_err(|e| StepError::new(ErrorClass::Host, format!("cannot rename {from} to {to}: {e}")))
}

fn same_bytes(a: &Utf8Path, b: &Utf8Path) -> std::io::Result<bool> {
    use std::io::Read;
    if std::fs::metadata(a)?.len() != std::fs::metadata(b)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (std::fs::File::open(a)?, std::fs::File::open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = a.read(&mut left)?;
        if n == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..n])?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
    }
}
