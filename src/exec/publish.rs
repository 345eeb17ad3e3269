//! What a worker does around its step so that a success is recorded once, an unfinished output is
//! found again, and nothing that somebody else put under its output's name is lost.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::order::Record;
use crate::files::{FileDigest, Stamp, now_ms, partial_path};
use crate::state::{Action, Attempt, Lock, Pending, State, is_being_written};
use crate::steps::{
    self, ErrorClass, Event, EventSink, Level, StepError, StepSpec, hashed_inputs, made_of_inputs,
    outputs,
};

/// How long a worker waits for another that does the same step, such as one that outlived its
/// runner for a moment.
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A step whose lock is held and whose success will be recorded.
pub struct Publication<'a> {
    state: State,
    record: &'a Record,
    spec: StepSpec,
    events: &'a dyn EventSink,
    _lock: Lock,
    /// Stamps of the files that the step reads, taken before it does and before its key was made.
    before: Vec<(Utf8PathBuf, Stamp)>,
    /// Files of unknown origin that stood under the outputs' names, and where they are meanwhile.
    aside: Vec<(Utf8PathBuf, Utf8PathBuf)>,
    started_ms: i64,
}

impl<'a> Publication<'a> {
    /// Opens the state and takes the step's lock.
    pub fn open(
        record: &'a Record,
        spec: &StepSpec,
        events: &'a dyn EventSink,
    ) -> Result<Self, StepError> {
        let state = State::open(&record.workspace)?;
        let name = hex::encode(Sha256::digest(format!("{}\n{}", record.job, record.step)));
        let path = state.directory().join("locks").join(&name[..16]);
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
            state,
            record,
            spec: spec.clone(),
            events,
            _lock: lock,
            before: Vec::new(),
            aside: Vec::new(),
            started_ms: now_ms(),
        })
    }

    /// The result of a success that is on record and whose files are as it left them.
    pub fn recorded(&self) -> Result<Option<Value>, StepError> {
        if self.record.redo {
            return Ok(None);
        }
        let Record { step, key, .. } = self.record;
        let action = self.state.action(self.record.owner(), step, key)?;
        let Some(action) = action else { return Ok(None) };
        let outs = steps::model_outputs(&self.spec)?;
        if outs.iter().any(|out| action.outputs.iter().all(|o| o.path != *out)) {
            return Ok(None);
        }
        for output in &action.outputs {
            if !self.is_known(output)? {
                return Ok(None);
            }
        }
        self.log(Level::Info, "done already, by a worker that outlived its runner");
        Ok(Some(action.result))
    }

    /// Directory for journals.
    pub fn journals(&self) -> Utf8PathBuf {
        self.state.journals()
    }

    /// The specification, as it is to be run.
    pub fn spec(&self) -> &StepSpec {
        &self.spec
    }

    /// Notes what is going to be written, makes room for it, and looks at what is going to be read.
    pub fn prepare(mut self) -> Result<Self, StepError> {
        self.look_at_inputs()?;
        let outs = steps::model_outputs(&self.spec)?;
        if !outs.is_empty() {
            self.drop_abandoned(&outs)?;
            self.state.set_pending(&Pending {
                job: self.record.job.clone(),
                manifest: self.record.manifest.clone(),
                step: self.record.step.clone(),
                key: self.record.key.clone(),
                outputs: outs.clone(),
            })?;
            outs.iter().try_for_each(|out| self.make_room(out))?;
        }
        Ok(self)
    }

    /// Takes the stamps of what is going to be read; a wait for a free machine may have been long
    /// since the key was made.
    fn look_at_inputs(&mut self) -> Result<(), StepError> {
        self.before = self.record.reads.clone();
        if let StepSpec::Verify(spec) = &self.spec {
            for path in spec.files.keys().map(|name| spec.directory.join(name)) {
                // A file that cannot be looked at is the step's own error.
                if let Ok(Some(stamp)) = Stamp::of(&path) {
                    self.before.push((path, stamp));
                }
            }
        }
        for (_, stamp) in &self.before {
            // A change right after this must show in the stamp.
            stamp.settle();
        }
        self.check_unchanged()
    }

    /// Removes what an interrupted attempt left under another name, which nobody will continue.
    fn drop_abandoned(&self, outs: &[Utf8PathBuf]) -> Result<(), StepError> {
        let pending = self.state.pending(self.record.owner(), &self.record.step)?;
        let old = pending.into_iter().flat_map(|pending| pending.outputs);
        for old in old.filter(|old| !outs.contains(old)) {
            let partial = partial_path(&old);
            if is_being_written(&partial) {
                continue;
            }
            match std::fs::remove_file(&partial) {
                Ok(()) => self.log(Level::Info, format!("removed the unfinished {partial}")),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => self.log(Level::Warn, format!("cannot remove {partial}: {e}")),
            }
        }
        Ok(())
    }

    /// Lets the step replace a file that this workspace's records know, and moves any other out of
    /// the way: nothing is lost because it had the wrong name.
    fn make_room(&mut self, out: &Utf8Path) -> Result<(), StepError> {
        let there = Stamp::of(out).map_err(|e| {
            StepError::new(ErrorClass::Host, format!("cannot look at {out}, to be written: {e}"))
        })?;
        let Some(stamp) = there else { return Ok(()) };
        let ours = match self.state.digest(out, &stamp)? {
            Some(sha256) => self.state.wrote(&FileDigest {
                path: out.to_owned(),
                bytes: stamp.bytes,
                sha256,
            })?,
            None => false,
        };
        if ours {
            match &mut self.spec {
                StepSpec::Convert(spec) => spec.force = true,
                StepSpec::Quantize(spec) => spec.force = true,
                _ => {}
            }
            return Ok(());
        }
        let aside = free_name(out);
        rename(out, &aside)?;
        self.log(
            Level::Warn,
            format!("{out} is not on record here; kept as {aside} until the new one is there"),
        );
        self.aside.push((out.to_owned(), aside));
        Ok(())
    }

    /// Records a success.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if something that the step read changed meanwhile: what it wrote is
    /// removed then; or if the state cannot be written.
    pub fn commit(self, result: Value) -> Result<Value, StepError> {
        let kind = self.spec.kind();
        if let Err(error) = self.check_unchanged() {
            return Err(self.withdraw(error, &made_of_inputs(kind, &result)?));
        }
        let outputs = outputs(kind, &result)?;
        for output in &outputs {
            if let Ok(Some(stamp)) = Stamp::of(&output.path)
                && stamp.bytes == output.bytes
            {
                self.state.record_digest(&output.path, &stamp, &output.sha256)?;
            }
        }
        for input in hashed_inputs(kind, &result)? {
            if let Some((path, stamp)) = self.before.iter().find(|(p, _)| *p == input.path) {
                self.state.record_digest(path, stamp, &input.sha256)?;
            }
        }
        self.state.record_action(&Action {
            job: self.record.job.clone(),
            manifest: self.record.manifest.clone(),
            step: self.record.step.clone(),
            key: self.record.key.clone(),
            ingredients: self.record.ingredients.clone(),
            outputs,
            result: result.clone(),
            result_sha256: String::new(),
            started_ms: self.started_ms,
            duration_ms: now_ms() - self.started_ms,
            peak_rss_bytes: crate::metrics::rss::Memory::now()
                .and_then(|m| i64::try_from(m.peak_rss).ok()),
        })?;
        for (out, aside) in &self.aside {
            self.settle_aside(out, aside);
        }
        Ok(result)
    }

    /// A result made from something else than its key says is worth nothing.
    fn check_unchanged(&self) -> Result<(), StepError> {
        match self.before.iter().find(|(p, stamp)| Stamp::of(p).ok().flatten() != Some(*stamp)) {
            None => Ok(()),
            Some((path, _)) => Err(StepError::new(
                ErrorClass::Input,
                format!(
                    "{path} was changed while this step read it, or waited for its turn; run again"
                ),
            )),
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

    fn is_known(&self, file: &FileDigest) -> Result<bool, StepError> {
        let Ok(Some(stamp)) = Stamp::of(&file.path) else { return Ok(false) };
        Ok(self.state.digest(&file.path, &stamp)?.as_deref() == Some(&file.sha256))
    }

    fn log(&self, level: Level, message: impl Into<String>) {
        self.events.emit(Event::Log { level, message: message.into() });
    }
}

/// A name beside `path` that nothing has.
fn free_name(path: &Utf8Path) -> Utf8PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S").to_string();
    let mut name = Utf8PathBuf::from(format!("{path}.kept-{now}"));
    let mut n = 2;
    while name.exists() {
        name = Utf8PathBuf::from(format!("{path}.kept-{now}-{n}"));
        n += 1;
    }
    name
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
