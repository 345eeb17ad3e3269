//! From a task to the specification that a worker gets.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::Value;

use super::graph::{Target, Task};
use super::ingredients::greedy_tokens;
use super::{FileFact, Plan, StepState};
use crate::manifest::{Reference, ReferenceOrigin};
use crate::steps::quantize::input_files;
use crate::steps::{
    self, BenchSpec, CompareSpec, ConvertSpec, ErrorClass, EvaluateSpec, FormatSpec, LoadCheckSpec,
    Provenance, QuantizeSource, QuantizeSpec, ReferenceFile, ReportCandidate, ReportReference,
    ReportSpec, StepError, StepSpec, VerifySpec, rfc3339,
};

impl Plan {
    /// The specification of `task`; `out` is where a model file goes.
    pub(super) fn spec(
        &self,
        task: Task,
        out: Option<Utf8PathBuf>,
        now: jiff::Timestamp,
    ) -> Result<StepSpec, StepError> {
        let job = &self.job;
        let out = || out.clone().ok_or_else(|| missing("a name for its output"));
        Ok(match task {
            Task::Verify => StepSpec::Verify(self.verify_spec()?),
            Task::Convert => StepSpec::Convert(ConvertSpec {
                checkpoint: job.input.checkpoint.clone(),
                tokenizer: job.input.tokenizer.clone(),
                dtype: job.convert.dtype,
                out: out()?,
                split: None,
                force: false,
            }),
            Task::Quantize(target) => StepSpec::Quantize(QuantizeSpec {
                source: self.source(),
                format: self.format(target)?.clone(),
                native_mxfp4: job.quantize.native_mxfp4,
                fallback: job.quantize.fallback,
                provenance: self.known_provenance()?,
                out: out()?,
                split: job.quantize.split,
                force: false,
            }),
            Task::LoadCheck(format) => {
                StepSpec::LoadCheck(LoadCheckSpec { gguf: self.path(Target::Format(format))? })
            }
            Task::Bench(target) => StepSpec::Bench(BenchSpec {
                gguf: self.path(target)?,
                warmups: job.bench.warmups,
                runs: job.bench.runs,
                prompt_tokens: job.bench.prompt_tokens,
                generate_tokens: job.bench.generate_tokens,
                kv_cache: None,
            }),
            Task::Evaluate(format) => StepSpec::Evaluate(self.evaluate_spec(format)?),
            Task::Compare { format, reference } => StepSpec::Compare(CompareSpec {
                gguf: self.path(Target::Format(format))?,
                reference: ReferenceFile {
                    name: job.references[reference].name.clone(),
                    gguf: self.path(Target::Reference(reference))?,
                },
                greedy_tokens: greedy_tokens(job),
            }),
            Task::Report => StepSpec::Report(self.report_spec(now)?),
            Task::Publish => StepSpec::Publish(self.publish_spec(now)?),
        })
    }

    /// The files whose digests are not known; all of them where verify is forced.
    fn verify_spec(&self) -> Result<VerifySpec, StepError> {
        let directory = self.job.input.checkpoint.clone();
        let forced =
            self.graph.find(Task::Verify).is_some_and(|v| self.selection.forced.contains(&v));
        let mut files = BTreeMap::new();
        for (path, expected) in self.inputs.expected(&self.job) {
            if forced || matches!(self.file(&path)?, FileFact::Unknown { .. }) {
                let name = path.strip_prefix(&directory).unwrap_or(&path).to_string();
                files.insert(name, expected);
            }
        }
        Ok(VerifySpec { directory, files })
    }

    pub(super) fn source(&self) -> QuantizeSource {
        match &self.job.convert.gguf {
            Some(gguf) => QuantizeSource::Gguf(gguf.clone()),
            None => self.checkpoint_source(),
        }
    }

    /// The checkpoint, as convert would write it.
    pub(super) fn checkpoint_source(&self) -> QuantizeSource {
        QuantizeSource::Checkpoint {
            directory: self.job.input.checkpoint.clone(),
            tokenizer: self.job.input.tokenizer.clone(),
            dtype: self.job.convert.dtype,
        }
    }

    /// What quantized files are to say of where they come from, digests left open.
    pub(super) fn provenance(&self) -> Option<Provenance> {
        let made_from = self.checkpoint_source();
        self.job.quantize.provenance.then_some(Provenance { made_from, inputs: None })
    }

    /// The same with the digests, all of which verify has found.
    fn known_provenance(&self) -> Result<Option<Provenance>, StepError> {
        let Some(provenance) = self.provenance() else { return Ok(None) };
        let mut inputs = BTreeMap::new();
        for (name, path) in input_files(&provenance.made_from)? {
            let FileFact::Known { sha256, .. } = self.file(&path)? else {
                return Err(missing("the digest of an input"));
            };
            inputs.insert(name, sha256);
        }
        Ok(Some(Provenance { inputs: Some(inputs), ..provenance }))
    }

    pub(super) fn format(&self, target: Target) -> Result<&FormatSpec, StepError> {
        match target {
            Target::Format(format) => Ok(&self.job.formats[format].spec),
            Target::Reference(reference) => match &self.job.references[reference].origin {
                ReferenceOrigin::Made(format) => Ok(format),
                ReferenceOrigin::Given { .. } => Err(missing("the format of a given reference")),
            },
        }
    }

    /// Where the file of `target` is.
    fn path(&self, target: Target) -> Result<Utf8PathBuf, StepError> {
        if let Target::Reference(r) = target
            && let Reference { origin: ReferenceOrigin::Given { .. }, gguf, .. } =
                &self.job.references[r]
        {
            return Ok(gguf.clone());
        }
        Ok(self.model(target).ok_or_else(|| missing("the model file"))?.path.clone())
    }

    /// The references that are there, by their place in the job.
    fn references(&self) -> Vec<usize> {
        let missing = self.missing_references();
        (0..self.job.references.len())
            .filter(|r| !missing.iter().any(|m| m.name == self.job.references[*r].name))
            .collect()
    }

    fn evaluate_spec(&self, format: usize) -> Result<EvaluateSpec, StepError> {
        let evaluate =
            self.job.evaluate.as_ref().ok_or_else(|| missing("the manifest's [evaluate]"))?;
        let mut references = Vec::new();
        if let Some(gguf) = &self.job.convert.gguf {
            references.push(ReferenceFile { name: "unquantized".into(), gguf: gguf.clone() });
        }
        for r in self.references() {
            references.push(ReferenceFile {
                name: self.job.references[r].name.clone(),
                gguf: self.path(Target::Reference(r))?,
            });
        }
        Ok(EvaluateSpec {
            gguf: self.path(Target::Format(format))?,
            references,
            corpus: evaluate.corpus.clone(),
            context: evaluate.context,
            max_windows: evaluate.max_windows,
            exact: false,
            special_tokens: evaluate.special_tokens,
            kv_cache: None,
        })
    }

    fn report_spec(&self, now: jiff::Timestamp) -> Result<ReportSpec, StepError> {
        let job = &self.job;
        let mut candidates = Vec::new();
        for f in 0..job.formats.len() {
            candidates.push(self.candidate(f)?);
        }
        let references = self
            .references()
            .into_iter()
            .map(|r| {
                Ok(ReportReference {
                    name: job.references[r].name.clone(),
                    gguf: job.references[r].gguf.clone(),
                    sha256: self.reference_sha256(r)?,
                    made: self.made_at(Target::Reference(r)),
                    bench: self.result(Task::Bench(Target::Reference(r))),
                })
            })
            .collect::<Result<_, StepError>>()?;
        Ok(ReportSpec {
            job: job.name.clone(),
            command: self.command(),
            candidates,
            references,
            bench_json: job.bench.out.clone(),
            dir: job.report.dir.clone(),
            missing_references: self.missing_references().to_vec(),
            warnings: self.warnings(),
            made_from: self.made_from()?,
            created: rfc3339(now),
            publish: self.report_publish(),
        })
    }

    /// Step to what it warned of, for those that have ended well.
    fn warnings(&self) -> BTreeMap<String, Vec<String>> {
        let done = self.graph.nodes().zip(&self.states).filter_map(|(node, state)| {
            let (StepState::Fresh(done) | StepState::Done(done)) = state else { return None };
            let warnings = steps::warnings(&done.result);
            (!warnings.is_empty()).then(|| (node.id.clone(), warnings))
        });
        done.collect()
    }

    /// The command that runs this job, as it is typed in the workspace.
    fn command(&self) -> String {
        let manifest = &self.job.manifest;
        let shown = manifest.strip_prefix(&self.job.workspace).unwrap_or(manifest);
        format!("qrun {shown}")
    }

    fn candidate(&self, f: usize) -> Result<ReportCandidate, StepError> {
        let format = &self.job.formats[f];
        let compare = self
            .references()
            .into_iter()
            .filter_map(|reference| {
                let result = self.result(Task::Compare { format: f, reference })?;
                Some((self.job.references[reference].name.clone(), result))
            })
            .collect();
        let mut failures = BTreeMap::new();
        let mut logs = Vec::new();
        for (step, node) in self.graph.nodes().enumerate() {
            if node.task.format() != Some(f) {
                continue;
            }
            if let StepState::Failed(message) = &self.states[step] {
                failures.insert(node.id.clone(), message.clone());
            }
            if let Some(state) = &self.state {
                logs.extend(state.last_log(Some(self.owner()), &node.id)?);
            }
        }
        Ok(ReportCandidate {
            format: format.spec.clone(),
            baseline: format.baseline,
            quantize: self.result(Task::Quantize(Target::Format(f))),
            load_check: self.result(Task::LoadCheck(f)),
            bench: self.result(Task::Bench(Target::Format(f))),
            evaluate: self.result(Task::Evaluate(f)),
            compare,
            failures,
            logs,
            made: self.made_at(Target::Format(f)),
        })
    }

    fn result(&self, task: Task) -> Option<Value> {
        self.done(task).map(|done| done.result.clone())
    }
}

fn missing(what: &str) -> StepError {
    StepError::new(ErrorClass::Step, format!("the plan has no {what} for this step: a bug in qrun"))
}
