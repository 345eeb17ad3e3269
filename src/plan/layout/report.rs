//! The report's description: how which steps ended goes into it, and which files it names.

use std::collections::BTreeMap;

use super::{CONVERT, Layout, Target, id, maker};
use crate::manifest::{FailedFormats, ReferenceOrigin};
use crate::steps::{
    BenchSpec, Ended, EvaluateSpec, LoadCheckSpec, MadeFrom, NamedFile, Place, QuantizeSpec,
    ReportCandidate, ReportPublish, ReportReference, ReportSpec,
};

impl Layout<'_> {
    pub(super) fn report(&self) -> ReportSpec {
        let job = self.job;
        let manifest = job.manifest.strip_prefix(&job.workspace).unwrap_or(&job.manifest);
        let missing = self.inputs.missing_references.iter();
        ReportSpec {
            job: job.name.clone(),
            // As it is typed in the workspace.
            command: format!("qrun {manifest}"),
            qrun_version: env!("CARGO_PKG_VERSION").to_owned(),
            convert: job.convert.gguf.as_ref().map(|_| Ended::of(CONVERT)),
            candidates: (0..job.formats.len()).map(|f| self.candidate(f)).collect(),
            references: self.references().into_iter().map(|r| self.reference(r)).collect(),
            bench_json: Place::from(&job.bench.out),
            dir: Place::from(&job.report.dir),
            missing_references: missing.map(|(n, gguf)| (n.clone(), Place::from(gguf))).collect(),
            made_from: self.made_from(),
            checkpoint: Place::from(&job.input.checkpoint),
            publish: self.report_publish(),
        }
    }

    fn candidate(&self, f: usize) -> ReportCandidate {
        let job = self.job;
        let ended = |kind| Ended::of(id(job, kind, Target::Format(f)));
        let compared =
            |r: usize| (job.references[r].name.clone(), Ended::of(self.compare_id(f, r)));
        ReportCandidate {
            name: job.formats[f].spec.name.is.clone(),
            format: job.formats[f].spec.clone(),
            baseline: job.formats[f].baseline,
            quantize: ended(QuantizeSpec::KIND.name),
            load_check: ended(LoadCheckSpec::KIND.name),
            bench: ended(BenchSpec::KIND.name),
            evaluate: job.evaluate.as_ref().map(|_| ended(EvaluateSpec::KIND.name)),
            compare: self.references().into_iter().map(compared).collect::<BTreeMap<_, _>>(),
        }
    }

    fn reference(&self, r: usize) -> ReportReference {
        let reference = &self.job.references[r];
        let target = Target::Reference(r);
        let made = matches!(reference.origin, ReferenceOrigin::Made(_));
        ReportReference {
            name: reference.name.clone(),
            gguf: Place::from(&reference.gguf),
            given: (!made).then(|| NamedFile::from(&reference.gguf)),
            quantize: made.then(|| Ended::of(maker(self.job, target))),
            bench: Ended::of(id(self.job, BenchSpec::KIND.name, target)),
        }
    }

    /// The manifest, and every file from outside.
    fn made_from(&self) -> Vec<MadeFrom> {
        let job = self.job;
        let manifest = NamedFile {
            path: job.manifest.clone(),
            bytes: Some(job.manifest_bytes),
            sha256: Some(job.manifest_sha256.clone()),
        };
        let files = self.inputs.named(job).into_iter().map(|(name, path)| (name, path.into()));
        std::iter::once(("manifest".to_owned(), manifest))
            .chain(files)
            .map(|(name, file)| MadeFrom { name, file })
            .collect()
    }

    fn report_publish(&self) -> Option<ReportPublish> {
        let publish = self.job.publish.as_ref()?;
        let name = |f: usize| self.job.formats[f].spec.name.is.clone();
        let formats = self.job.publishable();
        let only_recommended = formats.iter().filter(|f| !publish.names(**f));
        Some(ReportPublish {
            to: Place::from(&publish.to),
            if_recommended: only_recommended.map(|f| name(*f)).collect(),
            failed_too: publish.failed == FailedFormats::Publish,
            formats: formats.into_iter().map(name).collect(),
        })
    }
}
