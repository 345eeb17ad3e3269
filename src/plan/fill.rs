//! From a step's draft to its whole description: what other steps left, and what is known of files.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::{Value, json};

use super::layout::VERIFY;
use super::{FileFact, Plan, StepState, names};
use crate::steps::quantize::input_files;
use crate::steps::{Ended, FileRef, NamedFile, Provenance, StepError, StepSpec};

impl Plan {
    /// The description of `step`, all of whose needs have ended; `now` is the time in names.
    pub(super) fn describe(
        &self,
        step: usize,
        now: jiff::Timestamp,
    ) -> Result<StepSpec, StepError> {
        let mut json = serde_json::to_value(&self.graph.node(step).draft).map_err(no_json)?;
        self.fill(&mut json, now)?;
        let mut spec: StepSpec = serde_json::from_value(json).map_err(no_json)?;
        match &mut spec {
            StepSpec::Verify(spec) => spec.files = self.files_to_verify()?.into(),
            StepSpec::Quantize(spec) => {
                if let Some(provenance) = &mut spec.provenance {
                    provenance.inputs = Some(self.digests_of_inputs(provenance)?).into();
                }
            }
            StepSpec::Publish(spec) => self.fill_publication(spec)?,
            StepSpec::Convert(_)
            | StepSpec::LoadCheck(_)
            | StepSpec::Bench(_)
            | StepSpec::BenchPair(_)
            | StepSpec::Evaluate(_)
            | StepSpec::Compare(_)
            | StepSpec::Report(_) => {}
        }
        Ok(spec)
    }

    /// Fills in what is in the types of `steps::refs`, wherever they stand.
    fn fill(&self, value: &mut Value, now: jiff::Timestamp) -> Result<(), StepError> {
        let Value::Object(fields) = value else {
            let items = value.as_array_mut().into_iter().flatten();
            return items.into_iter().try_for_each(|item| self.fill(item, now));
        };
        if fields.contains_key("$label") {
            return Ok(());
        }
        if fields.contains_key("$made_by") {
            let mut file: FileRef = serde_json::from_value(value.take()).map_err(no_json)?;
            if let Some(maker) = &file.made_by {
                let made = self.done(maker).and_then(|done| done.outputs.first());
                file.path = made.ok_or_else(|| missing("the file of another step"))?.path.clone();
            }
            *value = json!(file);
        } else if fields.contains_key("$step") {
            let ended: Ended = serde_json::from_value(value.take()).map_err(no_json)?;
            *value = json!(self.ended(ended.step)?);
        } else if fields.contains_key("$named") {
            let file: NamedFile = serde_json::from_value(value.take()).map_err(no_json)?;
            *value = json!(match (&file.sha256, self.file(&file.path)?) {
                (None, FileFact::Known { bytes, sha256 }) => {
                    NamedFile { bytes: Some(bytes), sha256: Some(sha256), ..file }
                }
                _ => file,
            });
        } else if let Some(Value::String(place)) = fields.get_mut("$place") {
            *place = names::expand(place, now).into_string();
        } else {
            fields.values_mut().try_for_each(|field| self.fill(field, now))?;
        }
        Ok(())
    }

    /// How the step `id` has ended.
    fn ended(&self, id: String) -> Result<Ended, StepError> {
        let mut ended = Ended::of(id);
        let Some(step) = self.graph.find(&ended.step) else { return Ok(ended) };
        match &self.states[step] {
            StepState::Fresh(done) | StepState::Done(done) => {
                ended.result = Some(done.result.clone());
                ended.took = Some((done.started_ms, done.duration_ms));
            }
            StepState::Failed(message) => ended.failure = Some(message.clone()),
            StepState::Skipped(_) => ended.skipped = true,
            StepState::Undecided | StepState::Ahead | StepState::Running => {}
        }
        if let Some(state) = &self.state {
            ended.log = state.last_log(Some(self.owner()), &ended.step)?;
        }
        Ok(ended)
    }

    /// The files whose digests are not known; all of them where verify is forced.
    fn files_to_verify(&self) -> Result<BTreeMap<String, Option<String>>, StepError> {
        let directory = &self.job.input.checkpoint;
        let forced = self.graph.find(VERIFY).is_some_and(|v| self.selection.forced.contains(&v));
        let mut files = BTreeMap::new();
        for (path, expected) in self.inputs.expected(&self.job) {
            if forced || matches!(self.file(&path)?, FileFact::Unknown { .. }) {
                let name = path.strip_prefix(directory).unwrap_or(&path).to_string();
                files.insert(name, expected);
            }
        }
        Ok(files)
    }

    /// The digests of what a file is to say that it was made from, all of which verify has found.
    fn digests_of_inputs(
        &self,
        provenance: &Provenance,
    ) -> Result<BTreeMap<String, String>, StepError> {
        let mut inputs = BTreeMap::new();
        for (name, path) in input_files(&provenance.made_from)? {
            let FileFact::Known { sha256, .. } = self.file(&path)? else {
                return Err(missing("the digest of an input"));
            };
            inputs.insert(name, sha256);
        }
        Ok(inputs)
    }

    /// The digest of an outside file to be named in a report; inside, `None` for one that was
    /// changed behind verify. `None` as long as verify may still find it.
    pub(super) fn digest_to_name(
        &self,
        path: &Utf8Path,
    ) -> Result<Option<Option<String>>, StepError> {
        if let FileFact::Known { sha256, .. } = self.file(path)? {
            return Ok(Some(Some(sha256)));
        }
        let verify = self.graph.find(VERIFY);
        let verified = verify.is_none_or(|step| self.states[step].has_ended());
        // While planning verify is fresh or not: fresh, it knows every file.
        Ok(verified.then_some(None))
    }
}

fn missing(what: &str) -> StepError {
    StepError::bug(format!("the plan has no {what} for this step"))
}

fn no_json(error: serde_json::Error) -> StepError {
    StepError::bug(format!("a step's description does not survive JSON ({error})"))
}
