//! The files that come from outside the job: which there are, which are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use crate::checkpoint::Checkpoint;
use crate::downloads::{StandIn, model_files};
use crate::files::open_regular;
use crate::gguf;
use crate::manifest::{Job, Reference, ReferenceOrigin};
use crate::steps::{StepError, TokenizerSource};

/// Bytes that a pointer or a server's answer has at most.
const LARGEST_STAND_IN: u64 = 1 << 16;

/// What stands where the manifest says that inputs are.
#[derive(Clone, Debug, Default)]
pub struct InputFiles {
    /// Names in the checkpoint's directory, sorted.
    pub checkpoint: Vec<String>,
    /// Names in the tokenizer's own directory, where it has one; sorted.
    pub tokenizer: Vec<String>,
    /// The files that given references are in, by the reference's name: one, or all parts.
    pub reference_files: BTreeMap<String, Vec<Utf8PathBuf>>,
    /// References that are not required and not there: name to path.
    pub missing_references: BTreeMap<String, Utf8PathBuf>,
    /// What is wrong, in words; the job cannot run.
    pub problems: Vec<String>,
    /// Outputs of earlier steps that have to be hashed to be known again.
    pub lost_outputs: Vec<Utf8PathBuf>,
}

impl InputFiles {
    /// Looks at the directories and files that `job` names.
    pub fn find(job: &Job) -> Result<Self, StepError> {
        let mut inputs = Self::default();
        inputs.find_checkpoint(job)?;
        if let TokenizerSource::Directory(directory) = &job.input.tokenizer {
            match list(directory)? {
                Some(names) => inputs.tokenizer = names,
                None => inputs.problems.push(format!(
                    "input.tokenizer: {directory} is not there; expected a directory with \
                    tokenizer.json"
                )),
            }
        }
        for reference in &job.references {
            let ReferenceOrigin::Given { required } = reference.origin else { continue };
            match (reference.gguf.is_file(), required) {
                (true, _) => inputs.find_parts(reference),
                (false, true) => inputs.problems.push(format!(
                    "reference {}: {} is not there; put it there, change its gguf, or say \
                    `required = false`",
                    reference.name, reference.gguf
                )),
                (false, false) => {
                    inputs
                        .missing_references
                        .insert(reference.name.clone(), reference.gguf.clone());
                }
            }
        }
        for imatrix in imatrices(job) {
            if !imatrix.is_file() {
                inputs.problems.push(format!(
                    "imatrix: {imatrix} is not there; expected an importance matrix that \
                    llama-imatrix made"
                ));
            }
        }
        for corpus in job.evaluate.iter().flat_map(|e| &e.corpus) {
            if !corpus.is_file() {
                inputs
                    .problems
                    .push(format!("evaluate.corpus: {corpus} is not there; expected a text file"));
            }
        }
        for path in inputs.expected(job).keys() {
            if let Some(what) = stand_in(path) {
                inputs.problems.push(format!("{path} is {what}"));
            }
        }
        Ok(inputs)
    }

    /// Looks for the other parts of a reference; what else is wrong with it is for its steps to say.
    fn find_parts(&mut self, reference: &Reference) {
        let files = match gguf::File::outline(&reference.gguf) {
            Ok(file) => file.parts().map(|(path, _)| path.to_owned()).collect(),
            Err(error @ gguf::Error::Parts { .. }) => {
                self.problems.push(format!("reference {}: {error}", reference.name));
                return;
            }
            Err(_) => vec![reference.gguf.clone()],
        };
        self.reference_files.insert(reference.name.clone(), files);
    }

    fn find_checkpoint(&mut self, job: &Job) -> Result<(), StepError> {
        let directory = &job.input.checkpoint;
        let Some(names) = list(directory)? else {
            self.problems.push(format!(
                "input.checkpoint: {directory} is not there; expected a directory with \
                config.json and *.safetensors"
            ));
            return Ok(());
        };
        self.checkpoint = names;
        // An index may name files that are called anything.
        match Checkpoint::file_names(directory) {
            Ok(names) => self.checkpoint.extend(names),
            Err(e) => self.problems.push(format!("input.checkpoint: {e}")),
        }
        for name in job.input.sha256.keys() {
            if !self.checkpoint.contains(name) {
                if directory.join(name).is_file() {
                    self.checkpoint.push(name.clone());
                } else {
                    self.problems
                        .push(format!("input.sha256: {} is not there", directory.join(name)));
                }
            }
        }
        self.checkpoint.sort();
        self.checkpoint.dedup();
        Ok(())
    }

    /// Every file to be verified, by absolute path, with its expected SHA-256 where one is known.
    pub fn expected(&self, job: &Job) -> BTreeMap<Utf8PathBuf, Option<String>> {
        let mut files = BTreeMap::new();
        for path in &self.lost_outputs {
            files.insert(path.clone(), None);
        }
        files.extend(self.reference_files.values().flatten().map(|path| (path.clone(), None)));
        for corpus in job.evaluate.iter().flat_map(|e| &e.corpus) {
            files.insert(corpus.clone(), None);
        }
        files.extend(imatrices(job).into_iter().map(|path| (path.clone(), None)));
        if let TokenizerSource::Directory(directory) = &job.input.tokenizer {
            files.extend(self.tokenizer.iter().map(|name| (directory.join(name), None)));
        }
        for name in &self.checkpoint {
            let expected = job.input.sha256.get(name).or_else(|| job.input.pinned.get(name));
            files.insert(job.input.checkpoint.join(name), expected.cloned());
        }
        files
    }

    /// The files from outside that a report names, each under the manifest's key for it.
    pub fn named(&self, job: &Job) -> Vec<(String, Utf8PathBuf)> {
        let mut named = Vec::new();
        for name in &self.checkpoint {
            named.push((format!("input.checkpoint/{name}"), job.input.checkpoint.join(name)));
        }
        if let TokenizerSource::Directory(directory) = &job.input.tokenizer {
            for name in &self.tokenizer {
                named.push((format!("input.tokenizer/{name}"), directory.join(name)));
            }
        }
        for (i, path) in imatrices(job).into_iter().enumerate() {
            named.push((format!("imatrix[{i}]"), path.clone()));
        }
        for (i, path) in job.evaluate.iter().flat_map(|e| &e.corpus).enumerate() {
            named.push((format!("evaluate.corpus[{i}]"), path.clone()));
        }
        for reference in &job.references {
            named.extend(self.reference(&reference.name));
        }
        named
    }

    /// The files that the given model at `path` is in; none where it is not a reference that is
    /// there.
    pub fn parts(&self, path: &Utf8Path) -> &[Utf8PathBuf] {
        let mut all = self.reference_files.values();
        all.find(|files| files.iter().any(|file| file == path)).map_or(&[], Vec::as_slice)
    }

    /// The files that a given reference is in, each under the manifest's key for it; none where it is
    /// not there.
    pub fn reference(&self, name: &str) -> Vec<(String, Utf8PathBuf)> {
        let key = format!("reference.{name}");
        match self.reference_files.get(name).map_or(&[][..], Vec::as_slice) {
            [file] => vec![(key, file.clone())],
            parts => {
                let part = |path: &Utf8PathBuf| {
                    (format!("{key}/{}", path.file_name().unwrap_or_default()), path.clone())
                };
                parts.iter().map(part).collect()
            }
        }
    }
}

/// The importance matrices of all that the job quantizes, each once.
pub(super) fn imatrices(job: &Job) -> BTreeSet<&Utf8PathBuf> {
    let formats = job.formats.iter().map(|format| &format.spec);
    let references = job.references.iter().filter_map(|reference| match &reference.origin {
        ReferenceOrigin::Made(format) => Some(format),
        ReferenceOrigin::Given { .. } => None,
    });
    formats.chain(references).filter_map(|f| Some(&f.imatrix.as_ref()?.path.path)).collect()
}

/// The files of a model in `directory`, sorted by name: weights, configuration, vocabulary. `None`
/// where there is no such directory.
fn list(directory: &Utf8Path) -> Result<Option<Vec<String>>, StepError> {
    let unreadable =
        |e: std::io::Error| StepError::input(format!("cannot list the directory {directory}: {e}"));
    if !directory.is_dir() {
        return Ok(None);
    }
    model_files(directory).map(Some).map_err(unreadable)
}

/// What stands in the place of the file at `path`, as far as its first bytes tell; large files are
/// none.
fn stand_in(path: &Utf8Path) -> Option<StandIn> {
    let file = open_regular(path).ok()?;
    if file.metadata().ok()?.len() > LARGEST_STAND_IN {
        return None;
    }
    let mut start = Vec::new();
    file.take(LARGEST_STAND_IN).read_to_end(&mut start).ok()?;
    let what = StandIn::of(&start)?;
    // A card or a corpus may well be a page.
    let binary = matches!(path.extension(), Some("safetensors" | "json" | "gguf"));
    (binary || what != StandIn::WebPage).then_some(what)
}
