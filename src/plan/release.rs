//! What of a job is published. Decided here once: for the key of the step, for its specification,
//! and for whoever asks why something is missing.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::layout::{PUBLISH, REPORT, Target, maker};
use super::{Plan, StepState};
use crate::files::FileDigest;
use crate::manifest::FailedFormats;
use crate::steps::publish::{Ending, Passed, passed, place};
use crate::steps::report::NOT_RECOMMENDED;
use crate::steps::{FileToPublish, PublishSpec, StepError};

/// What becomes of a format when its job publishes.
pub(super) enum Release<'a> {
    /// These files are published; the manifest asks for it although `although`.
    Files { files: &'a [FileDigest], although: Option<String> },
    /// Nothing of it is, and why.
    LeftOut(String),
    /// It is not known before these have ended.
    WaitsFor(Vec<String>),
}

impl Release<'_> {
    /// The part of the step's key that it is; `None` as long as it is not known.
    pub fn ingredient(&self) -> Option<String> {
        match self {
            Release::Files { files, although } => {
                let digests: Vec<&str> = files.iter().map(|file| file.sha256.as_str()).collect();
                let although = although.as_ref().map(|why| format!(" although {why}"));
                Some(digests.join(" ") + &although.unwrap_or_default())
            }
            Release::LeftOut(why) => Some(format!("left out: {why}")),
            Release::WaitsFor(_) => None,
        }
    }
}

impl Plan {
    /// What becomes of `format`: it is published once all its steps have ended well, if the
    /// manifest names it or the report recommends it.
    pub(super) fn release(&self, format: usize) -> Release<'_> {
        if !self.job.publish.as_ref().is_some_and(|publish| publish.names(format)) {
            let Some(report) = self.done(REPORT) else {
                return Release::WaitsFor(vec![REPORT.to_owned()]);
            };
            let recommended = report.result["recommendation"]["format"].as_str();
            if recommended != Some(self.job.formats[format].spec.name.as_str()) {
                return Release::LeftOut(NOT_RECOMMENDED.to_owned());
            }
        }
        self.passed(format)
    }

    /// What becomes of `format` if it is one to be published, by how its steps have ended.
    fn passed(&self, format: usize) -> Release<'_> {
        let failed_too =
            self.job.publish.as_ref().is_some_and(|p| p.failed == FailedFormats::Publish);
        let its = || {
            let all = self.graph.nodes().zip(&self.states);
            all.filter(|(node, _)| node.format == Some(format))
        };
        let ahead: Vec<String> = its()
            .filter(|(_, state)| !state.has_ended())
            .map(|(node, _)| node.id.clone())
            .collect();
        if !ahead.is_empty() {
            return Release::WaitsFor(ahead);
        }
        let steps: Vec<(&str, Ending)> = its()
            .map(|(node, state)| {
                let how = match state {
                    StepState::Failed(_) => Ending::Failed,
                    StepState::Skipped(_) => Ending::Skipped,
                    _ => Ending::Succeeded,
                };
                (node.id.as_str(), how)
            })
            .collect();
        let made = self.done(&maker(&self.job, Target::Format(format)));
        match (passed(steps.into_iter(), made.is_some(), failed_too), made) {
            (Passed::Yes { although }, Some(done)) => {
                Release::Files { files: &done.outputs, although }
            }
            (Passed::No(why), _) => Release::LeftOut(why),
            (Passed::Yes { .. }, None) => Release::LeftOut("it was not made".to_owned()),
        }
    }

    /// Why there is nothing to publish, if all that it depends on has ended.
    pub(super) fn why_nothing_is_published(&self) -> Option<String> {
        let mut left_out = Vec::new();
        for format in self.job.publishable() {
            match self.release(format) {
                Release::LeftOut(why) => {
                    left_out.push(format!("{} ({why})", *self.job.formats[format].spec.name));
                }
                _ => return None,
            }
        }
        Some(format!("every format is left out: {}", left_out.join(", ")))
    }

    /// The files of `format` that publish reads, and what stands in their places: what has its file
    /// there already is left as it is.
    pub(super) fn release_paths(&self, format: usize) -> Vec<Utf8PathBuf> {
        let (Some(publish), Release::Files { files, .. }) =
            (&self.job.publish, self.release(format))
        else {
            return Vec::new();
        };
        let paths = files.iter().flat_map(|f| [Some(f.path.clone()), place(&publish.to, &f.path)]);
        paths.flatten().collect()
    }

    /// Fills in what is published, now that all that decides on it has ended.
    pub(super) fn fill_publication(&self, spec: &mut PublishSpec) -> Result<(), StepError> {
        let (mut all, mut left_out) = (Vec::new(), BTreeMap::new());
        let mut others = self.published_before()?;
        for format in spec.formats.iter().map(|published| published.format) {
            let name = self.job.formats[format].spec.name.is.clone();
            match self.release(format) {
                Release::Files { files, although } => {
                    for file in files {
                        all.push(self.publish_file(&name, file, &spec.to, &although)?);
                    }
                }
                Release::LeftOut(why) => {
                    left_out.insert(name, why);
                    let made = self.done(&maker(&self.job, Target::Format(format)));
                    others.extend(made.iter().flat_map(|d| &d.outputs).map(|f| f.path.clone()));
                }
                Release::WaitsFor(_) => {
                    return Err(StepError::bug(format!("{name} is published before its time")));
                }
            }
        }
        for path in all.iter().filter_map(|file| place(&spec.to, &file.file.path)) {
            others.remove(&path);
        }
        others.retain(|path| path.parent() == Some(&spec.to));
        (spec.files, spec.left_out) = (all.into(), left_out.into());
        spec.others = others.into_iter().collect::<Vec<_>>().into();
        Ok(())
    }

    /// `file` with what is known of it, and of what stands in its place in `to`, without reading.
    fn publish_file(
        &self,
        format: &str,
        file: &FileDigest,
        to: &Utf8Path,
        although: &Option<String>,
    ) -> Result<FileToPublish, StepError> {
        let there = self.is_there(file, to)?;
        let intact = self.is_intact(file)? == Some(true);
        let (file, although) = (file.clone(), although.clone());
        Ok(FileToPublish { format: format.to_owned(), file, intact, there, although })
    }

    /// Whether the files of `format`, as far as it is made, are in their places already.
    pub(super) fn is_in_place(&self, format: usize) -> Result<bool, StepError> {
        let made = self.done(&maker(&self.job, Target::Format(format)));
        let (Some(publish), Some(done)) = (&self.job.publish, made) else { return Ok(false) };
        for file in &done.outputs {
            if !self.is_there(file, &publish.to)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether `file` is known to be in its place in `to`.
    fn is_there(&self, file: &FileDigest, to: &Utf8Path) -> Result<bool, StepError> {
        let Some(path) = place(to, &file.path) else { return Ok(false) };
        Ok(self.is_intact(&FileDigest { path, ..file.clone() })? == Some(true))
    }

    /// What earlier publications of this job left, their lists of digests excepted.
    fn published_before(&self) -> Result<BTreeSet<Utf8PathBuf>, StepError> {
        let Some(state) = &self.state else { return Ok(BTreeSet::new()) };
        let actions = state.actions()?.into_iter();
        let ours = actions.filter(|action| {
            let manifest = &action.manifest;
            let same = *manifest == self.job.manifest || manifest.as_str().is_empty();
            same && action.job == self.job.name && action.step == PUBLISH
        });
        Ok(ours.flat_map(|action| published_files(&action.result)).collect())
    }
}

/// The files that the publication with this result published; other versions' results have them in
/// the same place.
fn published_files(result: &Value) -> Vec<Utf8PathBuf> {
    let files = result["files"].as_array().into_iter().flatten();
    files.filter_map(|file| Some(file["path"].as_str()?.into())).collect()
}
