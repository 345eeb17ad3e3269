//! What a report says of where its numbers come from: the files that went in, when those that came
//! out were made, and what is going to be published.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::graph::{Target, Task};
use super::published::Published;
use super::{FileFact, Plan};
use crate::manifest::ReferenceOrigin;
use crate::steps::{InputFile, MadeAt, ReportPublish, StepError, rfc3339};

impl Plan {
    /// The digest of an outside file to be named in a report; inside, `None` for one that was
    /// changed behind verify. `None` as long as verify may still find it.
    pub(super) fn digest_to_name(
        &self,
        path: &Utf8Path,
    ) -> Result<Option<Option<String>>, StepError> {
        if let FileFact::Known { sha256, .. } = self.file(path)? {
            return Ok(Some(Some(sha256)));
        }
        let verify = self.graph.find(Task::Verify);
        let verified = verify.is_none_or(|step| self.states[step].has_ended());
        // While planning verify is fresh or not: fresh, it knows every file.
        Ok(verified.then_some(None))
    }

    /// The manifest, and every file from outside.
    pub(super) fn made_from(&self) -> Result<Vec<InputFile>, StepError> {
        let mut all = vec![InputFile {
            name: "manifest".to_owned(),
            path: self.job.manifest.clone(),
            bytes: Some(self.job.manifest_bytes),
            sha256: Some(self.job.manifest_sha256.clone()),
        }];
        for (name, path) in self.inputs.named(&self.job) {
            let (bytes, sha256) = match self.file(&path)? {
                FileFact::Known { bytes, sha256 } => (Some(bytes), Some(sha256)),
                FileFact::Unknown { .. } | FileFact::Missing => (None, None),
            };
            all.push(InputFile { name, path, bytes, sha256 });
        }
        Ok(all)
    }

    /// When the file of `target` was made; `None` if it was not, or not by this job.
    pub(super) fn made_at(&self, target: Target) -> Option<MadeAt> {
        let done = self.done(Task::Quantize(target))?;
        Some(MadeAt {
            started: at(done.started_ms)?,
            finished: at(done.started_ms.saturating_add(done.duration_ms))?,
        })
    }

    /// The digest of a reference's file, where it is known.
    pub(super) fn reference_sha256(&self, reference: usize) -> Result<Option<String>, StepError> {
        let target = Target::Reference(reference);
        Ok(match self.job.references[reference].origin {
            ReferenceOrigin::Made(_) => self.model(target).map(|file| file.sha256.clone()),
            ReferenceOrigin::Given { .. } => {
                self.digest_to_name(&self.job.references[reference].gguf)?.flatten()
            }
        })
    }

    /// What is going to be published, as far as it does not depend on what the report recommends.
    pub(super) fn report_publish(&self) -> Option<ReportPublish> {
        let publish = self.job.publish.as_ref()?;
        let name = |f: usize| self.job.formats[f].spec.name.clone();
        let formats = self.job.publishable();
        let mut left_out = BTreeMap::new();
        for &format in &formats {
            if let Published::LeftOut(why) = self.passed(format) {
                left_out.insert(name(format), why);
            }
        }
        let only_recommended = formats.iter().filter(|f| !publish.names(**f));
        Some(ReportPublish {
            to: publish.to.clone(),
            if_recommended: only_recommended.map(|f| name(*f)).collect(),
            left_out,
            formats: formats.into_iter().map(name).collect(),
        })
    }
}

/// A time in ms since 1970, to the second.
fn at(ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms).ok().map(rfc3339)
}
