//! The results of other steps, typed.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::recommend::{Contender, Control, Quality};
use super::{InputFile, MadeAt, MadeFrom, ReportCandidate, ReportReference, ReportSpec};
use crate::steps::context::{from_here, rfc3339};
use crate::steps::evaluate::EvaluateResult;
use crate::steps::{
    BenchResult, CompareResult, Ended, FormatSpec, LoadCheckResult, NamedFile, StepError,
    WriteResult, warnings,
};

/// Name of the reference that is the model before quantizing.
const UNQUANTIZED: &str = "unquantized";

/// Everything the report is made from.
pub struct Results<'a> {
    pub spec: &'a ReportSpec,
    pub candidates: Vec<Candidate<'a>>,
    pub references: Vec<Reference<'a>>,
    /// The files that the job read and did not make, named from the workspace.
    pub made_from: Vec<InputFile>,
    /// Step to what it warned of.
    pub warnings: BTreeMap<String, Vec<String>>,
    /// References that are not required and not there: name to path.
    pub missing_references: BTreeMap<String, Utf8PathBuf>,
    /// Name of the reference that quality is judged by: the unquantized model, or else the one with
    /// the most bits per weight; `None` if nothing was evaluated.
    pub quality_reference: Option<String>,
}

/// A candidate with the results of its steps.
pub struct Candidate<'a> {
    pub name: &'a str,
    pub format: &'a FormatSpec,
    pub baseline: bool,
    pub written: Option<WriteResult>,
    pub load_check: Option<LoadCheckResult>,
    pub bench: Option<BenchResult>,
    pub evaluation: Option<EvaluateResult>,
    pub comparisons: BTreeMap<&'a str, CompareResult>,
    /// Step name to message.
    pub failures: BTreeMap<String, String>,
    pub made: Option<MadeAt>,
}

/// A reference with its benchmark.
pub struct Reference<'a> {
    pub name: &'a str,
    pub gguf: Utf8PathBuf,
    pub sha256: Option<String>,
    pub made: Option<MadeAt>,
    pub bench: Option<BenchResult>,
}

impl<'a> Results<'a> {
    /// Types the results in `spec`.
    ///
    /// # Errors
    /// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if a result is not of its step's type.
    pub fn parse(spec: &'a ReportSpec) -> Result<Self, StepError> {
        let candidates: Vec<_> =
            spec.candidates.iter().map(Candidate::parse).collect::<Result<_, _>>()?;
        let references: Vec<_> =
            spec.references.iter().map(Reference::parse).collect::<Result<_, _>>()?;
        let quality_reference = quality_reference(&candidates);
        let missing_references = spec
            .missing_references
            .iter()
            .map(|(name, gguf)| Ok((name.clone(), from_here(gguf)?.to_owned())))
            .collect::<Result<_, StepError>>()?;
        let made_from = spec
            .made_from
            .iter()
            .map(|MadeFrom { name, file: NamedFile { path, bytes, sha256 } }| {
                Ok(InputFile {
                    name: name.clone(),
                    path: from_here(path)?.to_owned(),
                    bytes: *bytes,
                    sha256: sha256.clone(),
                })
            })
            .collect::<Result<_, StepError>>()?;
        Ok(Self {
            spec,
            warnings: warnings_of(spec),
            candidates,
            references,
            made_from,
            missing_references,
            quality_reference,
        })
    }

    /// What the recommendation is made from.
    pub fn contenders(&self) -> Vec<Contender> {
        let quality = |c: &Candidate<'_>| {
            let reference = self.quality_reference.as_deref()?;
            let distance = c.evaluation.as_ref()?.references.get(reference)?;
            Some(Quality {
                kl_divergence: distance.kl_divergence.mean,
                top_token_agreement: distance.top_token_agreement,
            })
        };
        self.candidates
            .iter()
            .map(|c| Contender {
                name: c.name.to_owned(),
                baseline: c.baseline,
                // What does not pass its load check has no speed worth the name.
                latency_ms: c
                    .bench
                    .as_ref()
                    .filter(|_| c.loads() != Some(false))
                    .map(|b| b.measured.samples.iter().map(|s| s.latency_ms).collect()),
                quality: quality(c),
                failure: c.failures.iter().next().map(|(step, why)| format!("{step}: {why}")),
                noise: c.bench.as_ref().map_or(Vec::new(), |b| b.measured.noise.reasons.clone()),
                disturbance: c.bench.as_ref().map_or(0.0, |b| {
                    let noise = &b.measured.noise;
                    noise.other_cpu_share.unwrap_or(0.0) + noise.stolen_cpu_share.unwrap_or(0.0)
                }),
            })
            .collect()
    }

    /// The candidate and the reference that hold the same weights, if there are such: of several
    /// pairs the one whose benchmarks differ most.
    pub fn control(&self) -> Option<Control> {
        let pairs = self.candidates.iter().flat_map(|c| {
            self.references.iter().filter_map(move |r| {
                c.comparisons.get(r.name).filter(|found| found.same_weights())?;
                let (mine, theirs) = (c.bench.as_ref()?, r.bench.as_ref()?);
                let difference = |q| {
                    let ratio = mine.measured.latency_ratio(&theirs.measured, q)?.ratio;
                    Some(1.0 - ratio.min(1.0 / ratio))
                };
                Some(Control {
                    names: [c.name.to_owned(), r.name.to_owned()],
                    difference: difference(0.50)?.max(difference(0.95)?),
                })
            })
        });
        pairs.max_by(|a, b| a.difference.total_cmp(&b.difference))
    }
}

impl<'a> Candidate<'a> {
    fn parse(raw: &'a ReportCandidate) -> Result<Self, StepError> {
        let mut comparisons = BTreeMap::new();
        for (reference, ended) in &raw.compare {
            if let Some(compared) = result(ended)? {
                comparisons.insert(reference.as_str(), compared);
            }
        }
        let mut written: Option<WriteResult> = result(&raw.quantize)?;
        if let Some(written) = &mut written {
            for file in [&mut written.output].into_iter().chain(&mut written.parts) {
                file.path = from_here(&file.path)?.to_owned();
            }
        }
        let failed = |ended: &Ended| Some((ended.step.clone(), ended.failure.clone()?));
        Ok(Self {
            name: &raw.name,
            format: &raw.format,
            baseline: raw.baseline,
            written,
            load_check: result(&raw.load_check)?,
            bench: bench(&raw.bench)?,
            evaluation: raw.evaluate.as_ref().map_or(Ok(None), result)?,
            comparisons,
            failures: raw.steps().filter_map(failed).collect(),
            made: made_at(&raw.quantize),
        })
    }
}

impl Candidate<'_> {
    /// Whether the load check passed; `None` if it did not run.
    pub fn loads(&self) -> Option<bool> {
        if self.failures.keys().any(|step| step.starts_with("load_check")) {
            return Some(false);
        }
        self.load_check.as_ref().map(|_| true)
    }
}

impl<'a> Reference<'a> {
    fn parse(raw: &'a ReportReference) -> Result<Self, StepError> {
        let written: Option<WriteResult> = raw.quantize.as_ref().map_or(Ok(None), result)?;
        let sha256 = match (&raw.given, written) {
            (Some(given), _) => given.sha256.clone(),
            (None, written) => written.map(|written| written.output.sha256),
        };
        Ok(Self {
            name: &raw.name,
            gguf: from_here(&raw.gguf)?.to_owned(),
            sha256,
            made: raw.quantize.as_ref().and_then(made_at),
            bench: bench(&raw.bench)?,
        })
    }
}

/// What the steps that have ended well warned of.
fn warnings_of(spec: &ReportSpec) -> BTreeMap<String, Vec<String>> {
    let candidates = spec.candidates.iter().flat_map(ReportCandidate::steps);
    let references = spec.references.iter().flat_map(|r| r.quantize.iter().chain([&r.bench]));
    let told = spec.convert.iter().chain(candidates).chain(references).filter_map(|ended| {
        let warnings = warnings(ended.result.as_ref()?);
        (!warnings.is_empty()).then(|| (ended.step.clone(), warnings))
    });
    told.collect()
}

/// When the step that has ended so made its file.
fn made_at(ended: &Ended) -> Option<MadeAt> {
    let at = |ms| jiff::Timestamp::from_millisecond(ms).ok().map(rfc3339);
    let (started, took) = ended.took?;
    Some(MadeAt { started: at(started)?, finished: at(started.saturating_add(took))? })
}

/// The reference that quality is judged by.
fn quality_reference(candidates: &[Candidate<'_>]) -> Option<String> {
    let evaluated = || candidates.iter().filter_map(|c| Some((c, c.evaluation.as_ref()?)));
    if evaluated().any(|(_, e)| e.references.contains_key(UNQUANTIZED)) {
        return Some(UNQUANTIZED.to_owned());
    }
    let bits = |name: &str| {
        let comparison = candidates.iter().find_map(|c| c.comparisons.get(name));
        comparison.map_or(0.0, |c| c.reference_bits_per_weight)
    };
    evaluated()
        .flat_map(|(_, e)| e.references.keys())
        .max_by(|a, b| bits(a).total_cmp(&bits(b)))
        .cloned()
}

/// A benchmark's result, its file named from the workspace.
fn bench(ended: &Ended) -> Result<Option<BenchResult>, StepError> {
    let mut bench: Option<BenchResult> = result(ended)?;
    if let Some(bench) = &mut bench {
        bench.gguf = from_here(&bench.gguf)?.to_owned();
    }
    Ok(bench)
}

fn result<T: DeserializeOwned>(ended: &Ended) -> Result<Option<T>, StepError> {
    ended.result.as_ref().map(|value| typed(value, &ended.step)).transpose()
}

fn typed<T: DeserializeOwned>(value: &Value, step: &str) -> Result<T, StepError> {
    T::deserialize(value).map_err(|e| {
        StepError::failed(format!(
            "the recorded result of {step} is not one this version of qrun reads: {e}; run that \
            step again with --force {step}"
        ))
    })
}
