//! What goes into each step. The one function here feeds the graph's edges, the key and the
//! explanation of a verdict, so that they cannot drift apart.

use camino::{Utf8Path, Utf8PathBuf};

use super::Machine;
use super::graph::{Target, Task};
use super::input_files::Inputs;
use crate::checkpoint::model_name;
use crate::manifest::{Job, ReferenceOrigin};
use crate::metrics::host::HostFacts;
use crate::steps::{FormatSpec, OnFallback, SpecialTokens, TokenizerSource};

/// One thing that goes into a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A setting, named as in the manifest.
    Parameter { name: String, value: String },
    /// A file from outside, by its digest.
    File { name: String, path: Utf8PathBuf },
    /// The file that another step writes, by its digest.
    Output(Task),
    /// Another step's result, by its digest, or the news that it failed.
    ResultOrFailure(Task),
    /// Nothing of the other step, except that it has to succeed first.
    After(Task),
    /// A file from outside that is named with its digest, and not read: that it changed meanwhile
    /// spoils nothing.
    Named { name: String, path: Utf8PathBuf },
    /// The files of a format, by its place in the job, or why they are not published.
    Published(usize),
}

/// Everything that goes into `task`, in a fixed order; names are unique.
pub fn inputs(job: &Job, files: &Inputs, machine: &Machine, task: Task) -> Vec<Input> {
    let mut list = List { job, files, inputs: Vec::new() };
    let version = format!("{}.version", task.kind().name());
    list.parameter(version, task.kind().version());
    match task {
        Task::Verify => {}
        Task::Convert => list.checkpoint(),
        Task::Quantize(target) => list.quantize(target),
        Task::LoadCheck(format) => {
            list.output(Task::Quantize(Target::Format(format)));
            list.host(&machine.host);
        }
        Task::Bench(target) => {
            list.bench(target);
            list.host(&machine.host);
            // Times of two programs are no measure of two files.
            list.parameter("qrun.sha256", &machine.program);
        }
        Task::Evaluate(format) => list.evaluate(format),
        Task::Compare { format, reference } => {
            list.candidate(format);
            list.reference(reference);
            list.parameter("evaluate.greedy_tokens", greedy_tokens(job));
        }
        Task::Report => list.report(),
        Task::Publish => list.publish(),
    }
    list.inputs
}

struct List<'a> {
    job: &'a Job,
    files: &'a Inputs,
    inputs: Vec<Input>,
}

impl List<'_> {
    fn parameter(&mut self, name: impl Into<String>, value: impl ToString) {
        self.inputs.push(Input::Parameter { name: name.into(), value: value.to_string() });
    }

    /// A place to write to, as it is seen from the workspace, which may be moved.
    fn place(&mut self, name: impl Into<String>, path: &Utf8Path) {
        let place = path.strip_prefix(&self.job.workspace).unwrap_or(path);
        self.parameter(name, place);
    }

    fn file(&mut self, name: impl Into<String>, path: Utf8PathBuf) {
        self.inputs.push(Input::File { name: name.into(), path });
    }

    fn output(&mut self, task: Task) {
        self.inputs.push(Input::Output(task));
    }

    /// What a measurement, or the news that a file loads, is only true of.
    fn host(&mut self, host: &HostFacts) {
        self.parameter("host.cpu_model", &host.cpu_model);
        self.parameter("host.architecture", &host.architecture);
        self.parameter("host.features", host.features.join(" "));
        self.parameter("host.cores", host.cores);
        self.parameter("host.threads", host.threads);
        // Kernels reserve a little more or less from one boot to the next.
        self.parameter("host.ram_gib", (host.ram_bytes + (1 << 29)) >> 30);
        self.parameter("host.kernel", &host.kernel);
    }

    fn checkpoint(&mut self) {
        let input = &self.job.input;
        self.parameter("convert.dtype", json_word(&self.job.convert.dtype));
        self.parameter(
            "input.tokenizer",
            match &input.tokenizer {
                TokenizerSource::Checkpoint => "checkpoint",
                TokenizerSource::O200kHarmony => "o200k_harmony",
                TokenizerSource::Directory(_) => "directory",
            },
        );
        // The directory's name goes into the file's metadata.
        self.parameter("input.checkpoint.name", model_name(&input.checkpoint));
        self.inputs.push(Input::After(Task::Verify));
        for name in &self.files.checkpoint {
            self.file(format!("input.checkpoint/{name}"), input.checkpoint.join(name));
        }
        if let TokenizerSource::Directory(directory) = &input.tokenizer {
            for name in &self.files.tokenizer {
                self.file(format!("input.tokenizer/{name}"), directory.join(name));
            }
        }
    }

    fn quantize(&mut self, target: Target) {
        let converted = self.job.convert.gguf.is_some();
        if converted {
            self.output(Task::Convert);
        }
        let provenance = self.job.quantize.provenance;
        // The file then names the checkpoint's files, whether or not it is made of them directly.
        if !converted || provenance {
            self.checkpoint();
        }
        if provenance {
            self.parameter("quantize.provenance", provenance);
            self.parameter("convert.version", Task::Convert.kind().version());
        }
        self.parameter("quantize.native_mxfp4", json_word(&self.job.quantize.native_mxfp4));
        // What is left out is no ingredient: records of a manifest without it stay good.
        if self.job.quantize.fallback == OnFallback::Refuse {
            self.parameter("quantize.fallback", json_word(&OnFallback::Refuse));
        }
        if let Some(split) = self.job.quantize.split {
            self.parameter("quantize.split", split);
        }
        let Some((prefix, format)) = format_of(self.job, target) else { return };
        self.parameter(format!("{prefix}.base"), &format.base);
        for (i, rule) in format.tensors.iter().enumerate() {
            self.parameter(format!("{prefix}.tensors[{i}].match"), &rule.pattern);
            self.parameter(format!("{prefix}.tensors[{i}].type"), rule.ggml_type);
        }
        for (name, asked) in
            [("pure", format.pure), ("leave_output_tensor", format.leave_output_tensor)]
        {
            if asked {
                self.parameter(format!("{prefix}.{name}"), asked);
            }
        }
        for (name, ty) in [
            ("output_tensor_type", format.output_tensor_type),
            ("token_embedding_type", format.token_embedding_type),
        ] {
            if let Some(ty) = ty {
                self.parameter(format!("{prefix}.{name}"), ty);
            }
        }
        if let Some(imatrix) = &format.imatrix {
            // The file's metadata holds the name.
            self.parameter(format!("{prefix}.imatrix.name"), &imatrix.name);
            self.file(format!("{prefix}.imatrix"), imatrix.path.clone());
        }
    }

    fn bench(&mut self, target: Target) {
        match target {
            Target::Format(format) => self.candidate(format),
            Target::Reference(reference) => self.reference(reference),
        }
        let bench = &self.job.bench;
        self.parameter("bench.warmups", bench.warmups);
        self.parameter("bench.runs", bench.runs);
        self.parameter("bench.prompt_tokens", bench.prompt_tokens);
        self.parameter("bench.generate_tokens", bench.generate_tokens);
    }

    /// A format's file, once it has passed its load check.
    fn candidate(&mut self, format: usize) {
        self.output(Task::Quantize(Target::Format(format)));
        self.inputs.push(Input::After(Task::LoadCheck(format)));
    }

    fn reference(&mut self, reference: usize) {
        let job = self.job;
        let reference_file = &job.references[reference];
        match reference_file.origin {
            ReferenceOrigin::Given { .. } => {
                for (name, path) in self.files.reference(&reference_file.name) {
                    self.file(name, path);
                }
            }
            ReferenceOrigin::Made(_) => {
                self.output(Task::Quantize(Target::Reference(reference)));
            }
        }
    }

    /// The references that are there, by their place in the job.
    fn references(&self) -> Vec<usize> {
        let missing = &self.files.missing_references;
        (0..self.job.references.len())
            .filter(|r| !missing.iter().any(|m| m.name == self.job.references[*r].name))
            .collect()
    }

    fn evaluate(&mut self, format: usize) {
        let job = self.job;
        self.candidate(format);
        let Some(evaluate) = &job.evaluate else { return };
        if job.convert.gguf.is_some() {
            self.output(Task::Convert);
        }
        for reference in self.references() {
            self.reference(reference);
        }
        for (i, corpus) in evaluate.corpus.iter().enumerate() {
            self.file(format!("evaluate.corpus[{i}]"), corpus.clone());
        }
        self.parameter("evaluate.context", evaluate.context);
        let windows = evaluate.max_windows.map_or("all".to_owned(), |n| n.to_string());
        self.parameter("evaluate.max_windows", windows);
        // As what is left out of a format.
        if evaluate.special_tokens != SpecialTokens::default() {
            self.parameter("evaluate.special_tokens", json_word(&evaluate.special_tokens));
        }
    }

    fn report(&mut self) {
        let job = self.job;
        // For what it warned of.
        self.inputs
            .extend(job.convert.gguf.as_ref().map(|_| Input::ResultOrFailure(Task::Convert)));
        for (f, format) in job.formats.iter().enumerate() {
            if format.baseline {
                self.parameter("format.baseline", &format.spec.name);
            }
            self.parameter(format!("format.{}.base", format.spec.name), &format.spec.base);
            let mut tasks = vec![
                Task::Quantize(Target::Format(f)),
                Task::LoadCheck(f),
                Task::Bench(Target::Format(f)),
            ];
            if job.evaluate.is_some() {
                tasks.push(Task::Evaluate(f));
            }
            let references = self.references().into_iter();
            tasks.extend(references.map(|reference| Task::Compare { format: f, reference }));
            self.inputs.extend(tasks.into_iter().map(Input::ResultOrFailure));
        }
        for reference in self.references() {
            let target = Target::Reference(reference);
            if format_of(job, target).is_some() {
                self.inputs.push(Input::ResultOrFailure(Task::Quantize(target)));
            }
            self.inputs.push(Input::ResultOrFailure(Task::Bench(target)));
        }
        for missing in &self.files.missing_references {
            self.parameter(format!("reference.{}", missing.name), "missing");
        }
        // The report names them, whether they are there or not.
        for reference in &job.references {
            self.place(format!("reference.{}.gguf", reference.name), &reference.gguf);
        }
        self.place("bench.out", &job.bench.out);
        self.place("report.dir", &job.report.dir);
        self.provenance();
        if let Some(publish) = &job.publish {
            self.place("publish.to", &publish.to);
            self.parameter("publish.failed", json_word(&publish.failed));
            let name = |f: &usize| job.formats[*f].spec.name.as_str();
            let named: Vec<&str> =
                job.publishable().iter().filter(|f| publish.names(**f)).map(name).collect();
            self.parameter("publish.only", named.join(" "));
        }
    }

    /// What the report says of where its numbers come from. When it is written is not in here: it
    /// is not written again because time has passed.
    fn provenance(&mut self) {
        self.parameter("qrun.version", env!("CARGO_PKG_VERSION"));
        self.parameter("manifest.sha256", &self.job.manifest_sha256);
        self.place("input.checkpoint", &self.job.input.checkpoint);
        let named = self.files.named(self.job).into_iter();
        self.inputs.extend(named.map(|(name, path)| Input::Named { name, path }));
    }

    fn publish(&mut self) {
        let job = self.job;
        if let Some(publish) = &job.publish {
            self.inputs.push(Input::After(Task::Report));
            self.inputs.extend(job.publishable().into_iter().map(Input::Published));
            self.place("publish.to", &publish.to);
            if let Some(list) = &publish.sha256_list {
                self.place("publish.sha256_list", Utf8Path::new(list));
            }
        }
    }
}

/// The format that a target is quantized to, and what the manifest calls its table.
fn format_of(job: &Job, target: Target) -> Option<(&'static str, &FormatSpec)> {
    match target {
        Target::Format(format) => Some(("format", &job.formats[format].spec)),
        Target::Reference(reference) => match &job.references[reference].origin {
            ReferenceOrigin::Made(format) => Some(("reference", format)),
            ReferenceOrigin::Given { .. } => None,
        },
    }
}

/// Tokens to generate for the agreement with a reference, also where the job has no `[evaluate]`.
pub fn greedy_tokens(job: &Job) -> u32 {
    job.evaluate.as_ref().map_or(48, |e| e.greedy_tokens)
}

/// A unit variant as the manifest spells it.
fn json_word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}
