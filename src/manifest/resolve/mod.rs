//! From the manifest as typed to the job: defaults filled in, paths made absolute, names, patterns,
//! sizes and times understood. Collects every problem instead of stopping at the first.

mod formats;
mod values;

use std::collections::BTreeMap;

use bytesize::ByteSize;
use camino::{Utf8Path, Utf8PathBuf};
use toml::Spanned;

use super::diagnostic::Problems;
use super::files::{Files, normal};
use super::job::FailedFormats;
use super::{job, path_text, raw, template};
use crate::steps::evaluate::MIN_CONTEXT;
use crate::steps::{ConvertDtype, NativeMxfp4, OnFallback, TokenizerSource};
use crate::words::did_you_mean;

/// What stands in `publish.only` for the format that the report recommends.
const RECOMMENDED: &str = "recommended";

/// The job of `manifest`, which stands at `path` (absolute). It means something only if `problems`
/// stay empty.
pub fn resolve(manifest: raw::Manifest, path: &Utf8Path, problems: &mut Problems) -> job::Job {
    let home = path.parent().unwrap_or(Utf8Path::new("/"));
    let workspace = manifest.workspace.as_ref().map_or(".", |w| w.get_ref().as_str());
    let workspace = normal(&home.join(workspace));
    if let Some(key) = &manifest.workspace
        && path_text::check_spanned(key, problems)
        && !workspace.is_dir()
    {
        let message = format!("the workspace {workspace} is not a directory");
        let help = "it is relative to the manifest's own directory".to_owned();
        problems.add(key.span(), message, "not there", Some(help));
    }
    let resolver = Resolver {
        name: manifest.name.get_ref().clone(),
        workspace: workspace.clone(),
        files: Files::default(),
        problems,
    };
    resolver.job(manifest, path, workspace)
}

/// Whether `text` is a SHA-256 in hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

struct Resolver<'p> {
    name: String,
    workspace: Utf8PathBuf,
    files: Files,
    problems: &'p mut Problems,
}

impl Resolver<'_> {
    fn job(mut self, manifest: raw::Manifest, path: &Utf8Path, workspace: Utf8PathBuf) -> job::Job {
        if *manifest.schema.get_ref() != 1 {
            let message = format!("unknown schema {}", manifest.schema.get_ref());
            let help = "this version of qrun knows schema 1".to_owned();
            self.problems.add(manifest.schema.span(), message, "expected 1", Some(help));
        }
        self.check_name(&manifest.name, "job");
        if let Some(found) = template::first_in(workspace.as_str()) {
            let message = format!("the workspace {workspace} has {found} in its path");
            let help = format!(
                "in paths of a manifest {found} stands for something else: rename that directory"
            );
            self.problems.add(0..0, message, "", Some(help));
        }
        let lock = path.with_extension("lock");
        self.files.input(path, "the manifest itself", 0..0);
        self.files.input(&lock, "the lock file", 0..0);
        let input = self.input(manifest.input);
        let convert = self.convert(manifest.convert);
        let imatrix = self.imatrix(manifest.quantize.imatrix.as_ref(), "quantize.imatrix");
        let formats = self.formats(&manifest.format, imatrix.as_ref());
        let quantize = self.quantize(manifest.quantize, &formats);
        let job = job::Job {
            name: self.name.clone(),
            manifest: path.to_owned(),
            manifest_bytes: 0,
            manifest_sha256: String::new(),
            lock,
            workspace,
            host: self.host(&manifest.host),
            input,
            convert,
            quantize,
            formats,
            references: self.references(&manifest.reference, imatrix.as_ref()),
            load_check: job::LoadCheck { timeout: self.timeout(&manifest.load_check.timeout) },
            bench: self.bench(manifest.bench),
            evaluate: manifest.evaluate.map(|evaluate| self.evaluate(evaluate)),
            publish: manifest.publish.map(|publish| self.publish(publish, &manifest.format)),
            report: self.report(&manifest.report),
        };
        self.files.check(self.problems);
        job
    }

    fn host(&mut self, host: &raw::Host) -> job::HostRequirements {
        let min_ram = host.min_ram.as_ref().and_then(|text| self.size(text));
        job::HostRequirements { min_ram }
    }

    fn size(&mut self, text: &Spanned<String>) -> Option<u64> {
        let parsed = text.get_ref().parse::<ByteSize>();
        if parsed.is_err() {
            self.problems.add(
                text.span(),
                format!("{:?} is not a size", text.get_ref()),
                "expected a number and a unit",
                Some("for example \"32 GB\" or \"30 GiB\"".to_owned()),
            );
        }
        parsed.ok().map(|size| size.as_u64())
    }

    /// The size of a part.
    fn split(&mut self, text: &Spanned<String>) -> Option<u64> {
        let size = self.size(text)?;
        if size == 0 {
            let message = "parts of no size hold nothing";
            let help = "for example \"45 GB\"; leave it out for one file".to_owned();
            self.problems.add(text.span(), message, "expected more than 0", Some(help));
        }
        Some(size)
    }

    fn input(&mut self, input: raw::Input) -> job::Input {
        let checkpoint = self.path(&input.checkpoint);
        if !input.checkpoint.get_ref().is_empty() {
            self.files.set_checkpoint(&checkpoint);
        }
        let mut sha256 = BTreeMap::new();
        for (file, digest) in input.sha256 {
            let name = Utf8Path::new(file.get_ref());
            let inside = name.is_relative() && !name.components().any(|c| c.as_str() == "..");
            if !inside || name.as_str().is_empty() {
                self.problems.add(
                    file.span(),
                    format!("{name:?} is not the name of a file in the checkpoint's directory"),
                    "expected a file name",
                    None,
                );
            }
            if !is_sha256(digest.get_ref()) {
                self.problems.add(
                    digest.span(),
                    "a SHA-256 has 64 hexadecimal digits",
                    format!("{} characters", digest.get_ref().chars().count()),
                    Some(format!("`sha256sum {name}` prints it")),
                );
            }
            sha256.insert(file.into_inner(), digest.into_inner().to_lowercase());
        }
        let tokenizer = match &input.tokenizer {
            None => TokenizerSource::Checkpoint,
            Some(name) if name.get_ref() == "o200k_harmony" => TokenizerSource::O200kHarmony,
            Some(directory) => {
                let near = did_you_mean(directory.get_ref(), ["o200k_harmony"]);
                if near.is_some() {
                    let message = format!("unknown tokenizer {:?}", directory.get_ref());
                    let label = "neither built in nor a directory";
                    self.problems.add(directory.span(), message, label, near);
                }
                TokenizerSource::Directory(self.path(directory).into())
            }
        };
        job::Input { checkpoint, sha256, pinned: BTreeMap::new(), tokenizer }
    }

    fn convert(&mut self, convert: raw::Convert) -> job::Convert {
        let dtypes =
            [("f32", ConvertDtype::F32), ("f16", ConvertDtype::F16), ("bf16", ConvertDtype::Bf16)];
        job::Convert {
            dtype: self.choice(&convert.dtype, "type", &dtypes),
            gguf: convert.gguf.map(|path| self.output(&path, "convert.gguf")),
        }
    }

    fn quantize(&mut self, quantize: raw::Quantize, formats: &[job::Format]) -> job::Quantize {
        let choices = [("keep", NativeMxfp4::Keep), ("requantize", NativeMxfp4::Requantize)];
        let native_mxfp4 = self.choice(&quantize.native_mxfp4, "choice", &choices);
        let choices = [("warn", OnFallback::Warn), ("refuse", OnFallback::Refuse)];
        let fallback = self.choice(&quantize.fallback, "choice", &choices);
        let span = quantize.gguf.span();
        let path = self.template(&quantize.gguf, &["name", "format", "timestamp"]);
        if formats.len() > 1 && !path.contains("{format}") {
            self.problems.add(
                span.clone(),
                format!("{} formats, and no `{{format}}` in their path", formats.len()),
                "every format would be written here",
                Some("put `{format}` into the file's name".to_owned()),
            );
        } else {
            for format in formats {
                let one = template::fill(&path, &[("format", &format.spec.name)]);
                let key = format!("quantize.gguf ({})", format.spec.name);
                self.files.model(Utf8Path::new(&one), key, span.clone());
            }
        }
        let split = quantize.split.as_ref().and_then(|text| self.split(text));
        if split.is_some() {
            self.files.set_split();
        }
        let provenance = quantize.provenance;
        job::Quantize { native_mxfp4, fallback, provenance, split, gguf: path }
    }

    fn bench(&mut self, bench: raw::Bench) -> job::Bench {
        job::Bench {
            warmups: bench.warmups.into_inner(),
            runs: self.at_least(1, &bench.runs, "runs"),
            prompt_tokens: self.at_least(1, &bench.prompt_tokens, "prompt_tokens"),
            generate_tokens: self.at_least(1, &bench.generate_tokens, "generate_tokens"),
            out: self.output(&bench.out, "bench.out"),
        }
    }

    fn evaluate(&mut self, evaluate: raw::Evaluate) -> job::Evaluate {
        if evaluate.corpus.get_ref().is_empty() {
            let message = "no text to evaluate on";
            let help = "name a text file, or leave out [evaluate]".to_owned();
            self.problems.add(evaluate.corpus.span(), message, "empty", Some(help));
        }
        let corpus = evaluate.corpus.into_inner().into_iter().map(|text| {
            let path = self.path(&text);
            self.files.input(&path, "evaluate.corpus", text.span());
            path
        });
        let corpus = corpus.collect();
        job::Evaluate {
            corpus,
            context: self.at_least(MIN_CONTEXT, &evaluate.context, "context"),
            max_windows: evaluate.max_windows.map(|n| self.at_least(1, &n, "max_windows")),
            special_tokens: evaluate.special_tokens,
            greedy_tokens: self.at_least(1, &evaluate.greedy_tokens, "greedy_tokens"),
        }
    }

    fn publish(&mut self, publish: raw::Publish, formats: &[raw::Format]) -> job::Publish {
        let to = self.directory(&publish.to, "publish.to");
        let only = publish.only.map(|only| self.publish_only(&only, formats));
        let choices = [("leave_out", FailedFormats::LeaveOut), ("publish", FailedFormats::Publish)];
        let failed = self.choice(&publish.failed, "choice", &choices);
        let sha256_list = publish.sha256_list.map(|path| {
            let filled = self.template(&path, &["name", "timestamp"]);
            self.files.output(Utf8Path::new(&filled), "publish.sha256_list", path.span());
            filled
        });
        job::Publish { to, only, failed, sha256_list }
    }

    fn publish_only(
        &mut self,
        only: &Spanned<Vec<Spanned<String>>>,
        formats: &[raw::Format],
    ) -> job::PublishOnly {
        if only.get_ref().is_empty() {
            let help = "name formats or `recommended`, or leave out `only` or [publish]".to_owned();
            self.problems.add(only.span(), "nothing to publish", "empty", Some(help));
        }
        let names = || formats.iter().map(|format| format.name.get_ref().as_str());
        let mut resolved = job::PublishOnly::default();
        for name in only.get_ref() {
            let format = names().position(|known| known.eq_ignore_ascii_case(name.get_ref()));
            match (format, name.get_ref() == RECOMMENDED) {
                (Some(format), false) => _ = resolved.formats.insert(format),
                (None, true) => resolved.recommended = true,
                (Some(_), true) => {
                    let message = format!("`{RECOMMENDED}` is what the report recommends");
                    let help = "give the format another name".to_owned();
                    self.problems.add(name.span(), message, "and the name of a format", Some(help));
                }
                (None, false) => {
                    let known = || names().chain([RECOMMENDED]);
                    let all: Vec<&str> = known().collect();
                    let help = did_you_mean(name.get_ref(), known())
                        .unwrap_or_else(|| format!("there are {}", all.join(", ")));
                    let message = format!("unknown format {:?}", name.get_ref());
                    self.problems.add(name.span(), message, "not in this job", Some(help));
                }
            }
        }
        resolved
    }

    fn report(&mut self, report: &raw::Report) -> job::Report {
        let dir = self.directory(&report.dir, "report.dir");
        let readme = dir.join(format!("README-{}.md", self.name));
        self.files.output(&readme, "the report in report.dir", report.dir.span());
        job::Report { dir }
    }
}
