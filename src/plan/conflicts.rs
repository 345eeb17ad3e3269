//! Steps that would write over what another manifest made and still wants: each run of the one would
//! undo what the other's did.

use camino::{Utf8Path, Utf8PathBuf};

use super::layout::{Node, Target};
use super::{Plan, key, names};
use crate::files::FileDigest;
use crate::manifest::{Job, ReferenceOrigin};
use crate::state::Action;
use crate::steps::{StepError, StepSpec};

impl Plan {
    /// Whose file `step` would write over, and in what the two differ as far as is known; in words.
    /// A file that the other manifest would make the same way is no matter.
    pub(super) fn conflict(&self, step: usize) -> Result<Option<String>, StepError> {
        let node = self.graph.node(step);
        let (Some(state), Some((key, path))) = (&self.state, self.destination(node)) else {
            return Ok(None);
        };
        let is_other = |a: &Action| a.manifest != self.job.manifest && still_wants(a, &path);
        let mut other = None;
        for file in self.files(node, &path)? {
            other = other.or(state.writers(&file)?.into_iter().find(is_other));
        }
        let Some(other) = other else { return Ok(None) };
        let known: Vec<_> =
            self.ingredients(step)?.into_iter().map(|i| (i.name, i.value)).collect();
        let Some(first) = key::differences(&other.ingredients, &known).into_iter().next() else {
            return Ok(None);
        };
        let shown =
            |path: &Utf8Path| path.strip_prefix(&self.job.workspace).unwrap_or(path).to_string();
        Ok(Some(format!(
            "{} would write over {}, which {} made otherwise ({first}) and still wants, so that \
            each would undo what the other did; give this job another `name`, or `{key}` \
            another place",
            node.id,
            shown(path.as_ref()),
            shown(&other.manifest),
        )))
    }

    /// The files that `node` would write whose model is called `path`: that, or its parts. Parts that
    /// nobody has written yet are not looked for, which would take a look at the source.
    fn files(&self, node: &Node, path: &str) -> Result<Vec<Utf8PathBuf>, StepError> {
        let path = Utf8PathBuf::from(path);
        let Some(state) = self.state.as_ref().filter(|_| node.draft.is_split()) else {
            return Ok(vec![path]);
        };
        let is_part = |file: &FileDigest| names::named_after(&file.path, true) == path;
        let is_other =
            |a: &Action| a.manifest != self.job.manifest && a.outputs.iter().any(is_part);
        if !state.actions()?.iter().any(is_other) {
            return Ok(Vec::new());
        }
        let mut draft = node.draft.clone();
        if let StepSpec::Quantize(spec) = &mut draft {
            spec.source = self.whole_source();
        }
        // One that cannot be made writes over nothing.
        Ok(draft.model_files().unwrap_or_default())
    }
}

/// Whether the manifest that made the file at `path` is still there and names that path.
fn still_wants(made: &Action, path: &str) -> bool {
    // One that cannot be read any more wants nothing.
    made.manifest.is_file()
        && Job::load(&made.manifest).is_ok_and(|job| places(&job).iter().any(|p| p == path))
}

/// Where the model files of `job` go.
fn places(job: &Job) -> Vec<String> {
    let made = |r: &usize| matches!(job.references[*r].origin, ReferenceOrigin::Made(_));
    let references = (0..job.references.len()).filter(made).map(Target::Reference);
    let targets = (0..job.formats.len()).map(Target::Format).chain(references);
    let converted = job.convert.gguf.iter().map(ToString::to_string);
    converted.chain(targets.map(|target| names::model_template(job, target))).collect()
}
