//! Which steps a job has: the only place that knows. Each is laid down as its description, in which
//! files of other steps and their results are named and not there yet.

mod report;

use camino::Utf8PathBuf;

use super::input_files::InputFiles;
use super::names;
use crate::manifest::{Job, ReferenceOrigin};
use crate::steps::{
    BenchSpec, CompareSpec, ConvertSpec, EvaluateSpec, FileRef, Label, LoadCheckSpec, Out, Place,
    Provenance, PublishSpec, QuantizeSource, QuantizeSpec, ReferenceFile, ReleaseOf, ReportSpec,
    StepSpec, TimeLimit, VerifySpec,
};

/// Ids of the steps of which a job has one at most.
pub const VERIFY: &str = VerifySpec::KIND.name;
pub const CONVERT: &str = ConvertSpec::KIND.name;
pub const REPORT: &str = ReportSpec::KIND.name;
pub const PUBLISH: &str = PublishSpec::KIND.name;

/// A file that the job makes or is given: a format, or a reference; by its place in the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Format(usize),
    Reference(usize),
}

/// One step.
#[derive(Clone, Debug)]
pub struct Node {
    /// `kind`, `kind:format`, `kind:ref:reference` or `kind:format:reference`.
    pub id: String,
    /// Its description, as far as it is known before it starts.
    pub draft: StepSpec,
    /// The candidate that it is about, by its place in the job.
    pub format: Option<usize>,
    /// Steps that have to succeed first, though it uses nothing of theirs.
    pub after: Vec<String>,
    /// The manifest's key for the place of the model file that it writes.
    pub destination: Option<&'static str>,
}

impl Node {
    fn new(id: impl Into<String>, draft: impl Into<StepSpec>) -> Self {
        let (id, draft) = (id.into(), draft.into());
        Self { id, draft, format: None, after: Vec::new(), destination: None }
    }

    fn of(self, format: usize) -> Self {
        Self { format: Some(format), ..self }
    }

    fn after(self, step: String) -> Self {
        Self { after: vec![step], ..self }
    }

    fn writes(self, destination: &'static str) -> Self {
        Self { destination: Some(destination), ..self }
    }
}

/// The steps of `job`, each after all that it waits for; references that are missing have none.
pub fn layout(job: &Job, inputs: &InputFiles) -> Vec<Node> {
    let layout = Layout { job, inputs };
    let references = layout.references();
    let formats = 0..job.formats.len();
    let mut nodes = vec![Node::new(VERIFY, layout.verify())];
    nodes.extend(job.convert.gguf.as_ref().map(|out| layout.convert(out)));
    nodes.extend(references.iter().filter_map(|r| layout.quantize(Target::Reference(*r))));
    for f in formats.clone() {
        nodes.extend(layout.quantize(Target::Format(f)));
        nodes.push(layout.load_check(f));
    }
    nodes.extend(references.iter().map(|r| layout.bench(Target::Reference(*r))));
    nodes.extend(formats.clone().map(|f| layout.bench(Target::Format(f))));
    nodes.extend(formats.clone().filter_map(|f| layout.evaluate(f)));
    for f in formats {
        nodes.extend(references.iter().map(|r| layout.compare(f, *r)));
    }
    nodes.push(Node::new(REPORT, layout.report()));
    nodes.extend(layout.publish());
    nodes
}

/// The id of the step of `kind` that is about `target`.
pub fn id(job: &Job, kind: &str, target: Target) -> String {
    match target {
        Target::Format(f) => format!("{kind}:{}", *job.formats[f].spec.name),
        Target::Reference(r) => format!("{kind}:ref:{}", job.references[r].name),
    }
}

/// The id of the step that makes the file of `target`.
pub fn maker(job: &Job, target: Target) -> String {
    id(job, QuantizeSpec::KIND.name, target)
}

/// The checkpoint, as convert would write it.
pub fn checkpoint_source(job: &Job) -> QuantizeSource {
    QuantizeSource::Checkpoint {
        directory: (&job.input.checkpoint).into(),
        tokenizer: job.input.tokenizer.clone(),
        dtype: job.convert.dtype,
    }
}

struct Layout<'a> {
    job: &'a Job,
    inputs: &'a InputFiles,
}

impl Layout<'_> {
    /// The references that are there, by their place in the job.
    fn references(&self) -> Vec<usize> {
        let missing = &self.inputs.missing_references;
        let there = |r: &usize| !missing.contains_key(&self.job.references[*r].name);
        (0..self.job.references.len()).filter(there).collect()
    }

    /// The file of `target`.
    fn model(&self, target: Target) -> FileRef {
        if let Target::Reference(r) = target
            && let ReferenceOrigin::Given { .. } = self.job.references[r].origin
        {
            return (&self.job.references[r].gguf).into();
        }
        FileRef::made_by(maker(self.job, target))
    }

    /// The files to hash are known once the step starts.
    fn verify(&self) -> VerifySpec {
        VerifySpec { directory: self.job.input.checkpoint.clone().into(), files: Label::default() }
    }

    fn convert(&self, out: &Utf8PathBuf) -> Node {
        let input = &self.job.input;
        let spec = ConvertSpec {
            checkpoint: (&input.checkpoint).into(),
            tokenizer: input.tokenizer.clone(),
            dtype: self.job.convert.dtype,
            out: out.into(),
            split: None,
            hash_tensors: false,
        };
        Node::new(CONVERT, spec).after(VERIFY.into()).writes("convert.gguf")
    }

    /// `None` for a reference that is given.
    fn quantize(&self, target: Target) -> Option<Node> {
        let job = self.job;
        let (format, of, destination) = match target {
            Target::Format(f) => (&job.formats[f].spec, Some(f), "quantize.gguf"),
            Target::Reference(r) => match &job.references[r].origin {
                ReferenceOrigin::Made(format) => (format, None, "reference.gguf"),
                ReferenceOrigin::Given { .. } => return None,
            },
        };
        let spec = QuantizeSpec {
            source: match &job.convert.gguf {
                Some(_) => QuantizeSource::Gguf(FileRef::made_by(CONVERT)),
                None => checkpoint_source(job),
            },
            format: format.clone(),
            native_mxfp4: job.quantize.native_mxfp4,
            fallback: job.quantize.fallback,
            provenance: job.quantize.provenance.then(|| Provenance {
                made_from: checkpoint_source(job),
                inputs: Label::default(),
            }),
            out: Out::from(Utf8PathBuf::from(names::model_template(job, target))),
            split: job.quantize.split,
            hash_tensors: false,
        };
        let node = Node { format: of, ..Node::new(maker(job, target), spec) };
        Some(node.writes(destination))
    }

    fn load_check(&self, f: usize) -> Node {
        let target = Target::Format(f);
        let limit = TimeLimit {
            after: self.job.load_check.timeout,
            setting: "load_check.timeout".to_owned(),
        };
        let spec = LoadCheckSpec { gguf: self.model(target), limit: Some(limit).into() };
        Node::new(id(self.job, LoadCheckSpec::KIND.name, target), spec).of(f)
    }

    /// A format that is measured has passed its load check.
    fn checked(&self, node: Node, f: usize) -> Node {
        node.of(f).after(id(self.job, LoadCheckSpec::KIND.name, Target::Format(f)))
    }

    fn bench(&self, target: Target) -> Node {
        let bench = &self.job.bench;
        let spec = BenchSpec {
            gguf: self.model(target),
            warmups: bench.warmups,
            runs: bench.runs,
            prompt_tokens: bench.prompt_tokens,
            generate_tokens: bench.generate_tokens,
            kv_cache: None,
        };
        let node = Node::new(id(self.job, BenchSpec::KIND.name, target), spec);
        match target {
            Target::Format(f) => self.checked(node, f),
            Target::Reference(_) => node,
        }
    }

    fn reference_file(&self, r: usize) -> ReferenceFile {
        let name = self.job.references[r].name.clone();
        ReferenceFile { name, gguf: self.model(Target::Reference(r)) }
    }

    fn evaluate(&self, f: usize) -> Option<Node> {
        let evaluate = self.job.evaluate.as_ref()?;
        let converted = self.job.convert.gguf.as_ref().map(|_| ReferenceFile {
            name: "unquantized".to_owned(),
            gguf: FileRef::made_by(CONVERT),
        });
        let references = self.references().into_iter().map(|r| self.reference_file(r));
        let spec = EvaluateSpec {
            gguf: self.model(Target::Format(f)),
            references: converted.into_iter().chain(references).collect(),
            corpus: evaluate.corpus.iter().map(FileRef::from).collect(),
            context: evaluate.context,
            max_windows: evaluate.max_windows,
            exact: false,
            special_tokens: evaluate.special_tokens,
            kv_cache: None,
        };
        Some(
            self.checked(
                Node::new(id(self.job, EvaluateSpec::KIND.name, Target::Format(f)), spec),
                f,
            ),
        )
    }

    fn compare(&self, f: usize, r: usize) -> Node {
        let spec = CompareSpec {
            gguf: self.model(Target::Format(f)),
            reference: self.reference_file(r),
            greedy_tokens: self.job.evaluate.as_ref().map_or(48, |e| e.greedy_tokens),
        };
        self.checked(Node::new(self.compare_id(f, r), spec), f)
    }

    fn compare_id(&self, f: usize, r: usize) -> String {
        let target = id(self.job, CompareSpec::KIND.name, Target::Format(f));
        format!("{target}:{}", self.job.references[r].name)
    }

    /// What becomes of each format is known once the step starts.
    fn publish(&self) -> Option<Node> {
        let publish = self.job.publish.as_ref()?;
        let formats = self.job.publishable().into_iter();
        let spec = PublishSpec {
            formats: formats.map(|format| ReleaseOf { format }).collect(),
            files: Label::default(),
            left_out: Label::default(),
            to: Place::from(&publish.to),
            others: Label::default(),
            sha256_list: names::list_template(self.job).map(|list| Utf8PathBuf::from(list).into()),
        };
        Some(Node::new(PUBLISH, spec).after(REPORT.to_owned()))
    }
}
