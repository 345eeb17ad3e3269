//! From the manifest as typed to the job: defaults filled in, paths made absolute, names, patterns,
//! sizes and times understood. Collects every problem instead of stopping at the first.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use camino::{Utf8Path, Utf8PathBuf};
use regex::Regex;
use toml::Spanned;

use super::diagnostic::{Problems, did_you_mean};
use super::files::{Files, normal};
use super::{job, raw, template};
use crate::ggml::{GgmlType, Kernel, Mix, UnsupportedType};
use crate::steps::{ConvertDtype, FormatSpec, NativeMxfp4, TensorRule, TokenizerSource};

/// The job of `manifest`, which stands at `path` (absolute). It means something only if `problems`
/// stay empty.
pub fn resolve(manifest: raw::Manifest, path: &Utf8Path, problems: &mut Problems) -> job::Job {
    let home = path.parent().unwrap_or(Utf8Path::new("/"));
    let workspace = manifest.workspace.as_ref().map_or(".", |w| w.get_ref().as_str());
    let workspace = normal(&home.join(workspace));
    if let Some(key) = manifest.workspace.as_ref().filter(|_| !workspace.is_dir()) {
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
        let lock = path.with_extension("lock");
        self.files.input(path, "the manifest itself", 0..0);
        self.files.input(&lock, "the lock file", 0..0);
        let input = self.input(manifest.input);
        let convert = self.convert(manifest.convert);
        let formats = self.formats(&manifest.format);
        let quantize = self.quantize(manifest.quantize, &formats);
        let job = job::Job {
            name: self.name.clone(),
            manifest: path.to_owned(),
            lock,
            workspace,
            host: self.host(&manifest.host),
            input,
            convert,
            quantize,
            formats,
            references: self.references(&manifest.reference),
            load_check: job::LoadCheck { timeout: self.timeout(&manifest.load_check.timeout) },
            bench: self.bench(manifest.bench),
            evaluate: manifest.evaluate.map(|evaluate| self.evaluate(evaluate)),
            publish: manifest.publish.map(|publish| self.publish(publish)),
            report: self.report(&manifest.report),
        };
        self.files.check(self.problems);
        job
    }

    fn host(&mut self, host: &raw::Host) -> job::HostRequirements {
        let min_ram = host.min_ram.as_ref().and_then(|text| {
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
        });
        job::HostRequirements { min_ram }
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
                TokenizerSource::Directory(self.path(directory))
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
                self.files.output(Utf8Path::new(&one), key, span.clone());
            }
        }
        job::Quantize { native_mxfp4, gguf: path }
    }

    fn formats(&mut self, formats: &[raw::Format]) -> Vec<job::Format> {
        if formats.is_empty() {
            let help = "add a `[[format]]` with `name = \"q4_K_M\"` and `role = \"baseline\"`";
            self.problems.add(0..0, "no formats to make", "", Some(help.to_owned()));
            return Vec::new();
        }
        let mut resolved: Vec<job::Format> = Vec::new();
        let mut baseline = None;
        for format in formats {
            self.check_name(&format.name, "format");
            let name = format.name.get_ref();
            if resolved.iter().any(|other| other.spec.name.eq_ignore_ascii_case(name)) {
                let message = format!("two formats are called `{name}`");
                let help = "names that differ only in case make the same file on some systems";
                self.problems.add(format.name.span(), message, "again", Some(help.to_owned()));
            }
            let role = format.role.as_ref();
            let is_baseline = role.is_some_and(|role| {
                self.choice(role, "role", &[("baseline", Some(raw::Role::Baseline))]).is_some()
            });
            if is_baseline
                && let Some(role) = role
                && let Some(first) = baseline.replace(name)
            {
                let message = format!("`{first}` and `{name}` are both the baseline");
                let help = "keep one: the others are compared with it".to_owned();
                self.problems.add(role.span(), message, "a second one", Some(help));
            }
            let spec = self.format_spec(format);
            resolved.push(job::Format { spec, baseline: is_baseline });
        }
        let role_given = formats.iter().any(|format| format.role.is_some());
        if baseline.is_none() && !role_given {
            self.problems.add(
                formats[0].name.span(),
                "no format is the baseline",
                "for example this one",
                Some(
                    "add `role = \"baseline\"` to the one that the others are compared with".into(),
                ),
            );
        }
        resolved
    }

    fn format_spec(&mut self, format: &raw::Format) -> FormatSpec {
        let base = format.base.as_ref().unwrap_or(&format.name);
        let help = format.base.is_none().then(|| {
            "a name that is no mix needs a `base`, for example `base = \"q4_K_S\"`".to_owned()
        });
        FormatSpec {
            name: format.name.get_ref().clone(),
            base: self.mix(base, help),
            tensors: format.tensors.iter().filter_map(|rule| self.rule(rule)).collect(),
        }
    }

    /// The canonical spelling of a mix.
    fn mix(&mut self, name: &Spanned<String>, help: Option<String>) -> String {
        match name.get_ref().parse::<Mix>() {
            Ok(mix) => {
                if let Err(UnsupportedType(ty)) = mix.check_supported() {
                    self.cannot_quantize_to(ty, name);
                }
                mix.name().to_owned()
            }
            Err(_) => {
                let known = Mix::ALL.iter().map(|mix| mix.name());
                self.problems.add(
                    name.span(),
                    format!("unknown mix {:?}", name.get_ref()),
                    "not one of llama-quantize's",
                    did_you_mean(name.get_ref(), known).or(help),
                );
                String::new()
            }
        }
    }

    fn rule(&mut self, rule: &raw::TensorRule) -> Option<TensorRule> {
        let regex = Regex::new(rule.pattern.get_ref());
        if let Err(e) = &regex {
            // The last line says what is wrong; those before it draw the pattern once more.
            let text = e.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("not a regular expression: {reason}");
            let help = "in TOML, 'single quotes' keep backslashes as they are".to_owned();
            self.problems.add(rule.pattern.span(), message, "here", Some(help));
        }
        let ggml_type = rule.ggml_type.get_ref().parse::<GgmlType>();
        if let Ok(ty) = &ggml_type
            && Kernel::new(*ty).is_err()
        {
            self.cannot_quantize_to(*ty, &rule.ggml_type);
        }
        if ggml_type.is_err() {
            let known = GgmlType::ALL.iter().map(|ty| ty.name());
            let name = rule.ggml_type.get_ref();
            let help = match name.parse::<Mix>() {
                Ok(mix) => Some(format!("{mix} is a mix; a tensor's type is `{}`", mix.base())),
                Err(_) => did_you_mean(name, known),
            };
            let message = format!("unknown tensor type {name:?}");
            self.problems.add(rule.ggml_type.span(), message, "not a ggml type", help);
        }
        regex.ok()?;
        Some(TensorRule { pattern: rule.pattern.get_ref().clone(), ggml_type: ggml_type.ok()? })
    }

    fn cannot_quantize_to(&mut self, ty: GgmlType, named: &Spanned<String>) {
        let message = format!("qrun cannot quantize to {ty} yet");
        let supported = GgmlType::ALL.iter().filter(|ty| Kernel::new(**ty).is_ok());
        let names: Vec<&str> = supported.map(|ty| ty.name()).collect();
        let help = format!("it can quantize to {}", names.join(", "));
        self.problems.add(named.span(), message, "not supported", Some(help));
    }

    fn references(&mut self, references: &[raw::Reference]) -> Vec<job::Reference> {
        let mut resolved: Vec<job::Reference> = Vec::new();
        for reference in references {
            let name = reference.name.get_ref();
            self.check_name(&reference.name, "reference");
            if name == "unquantized" {
                let message = "`unquantized` is the name of the model before quantizing";
                self.problems.add(reference.name.span(), message, "choose another name", None);
            } else if resolved.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
                let message = format!("two references are called `{name}`");
                self.problems.add(reference.name.span(), message, "again", None);
            }
            let key = format!("reference.gguf ({name})");
            let (gguf, origin) = match &reference.format {
                None => {
                    let gguf = self.path(&reference.gguf);
                    self.files.input(&gguf, key, reference.gguf.span());
                    let required = reference.required.as_ref().is_none_or(|r| *r.get_ref());
                    (gguf, job::ReferenceOrigin::Given { required })
                }
                Some(format) => {
                    if let Some(required) = &reference.required {
                        let message = "a reference that the job makes is always there";
                        let help = "leave out `required`, or `format`".to_owned();
                        self.problems.add(
                            required.span(),
                            message,
                            "not with `format`",
                            Some(help),
                        );
                    }
                    let base = self.mix(format, None);
                    let spec = FormatSpec { name: name.clone(), base, tensors: Vec::new() };
                    let gguf = self.output(&reference.gguf, key);
                    (gguf, job::ReferenceOrigin::Made(spec))
                }
            };
            resolved.push(job::Reference { name: name.clone(), gguf, origin });
        }
        resolved
    }

    fn timeout(&mut self, text: &Spanned<String>) -> Duration {
        let parsed = humantime::parse_duration(text.get_ref()).ok().filter(|d| !d.is_zero());
        parsed.unwrap_or_else(|| {
            self.problems.add(
                text.span(),
                format!("{:?} is not a time to wait", text.get_ref()),
                "expected a number and a unit",
                Some("for example \"120s\" or \"5m\"".to_owned()),
            );
            Duration::ZERO
        })
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
            context: self.at_least(2, &evaluate.context, "context"),
            max_windows: evaluate.max_windows.map(|n| self.at_least(1, &n, "max_windows")),
            greedy_tokens: self.at_least(1, &evaluate.greedy_tokens, "greedy_tokens"),
        }
    }

    fn publish(&mut self, publish: raw::Publish) -> job::Publish {
        let to = self.directory(&publish.to, "publish.to");
        let sha256_list = publish.sha256_list.map(|path| {
            let filled = self.template(&path, &["name", "timestamp"]);
            self.files.output(Utf8Path::new(&filled), "publish.sha256_list", path.span());
            filled
        });
        job::Publish { to, sha256_list }
    }

    fn report(&mut self, report: &raw::Report) -> job::Report {
        let dir = self.directory(&report.dir, "report.dir");
        let readme = dir.join(format!("README-{}.md", self.name));
        self.files.output(&readme, "the report in report.dir", report.dir.span());
        job::Report { dir }
    }

    /// One of a few words.
    fn choice<T: Copy + Default>(
        &mut self,
        word: &Spanned<String>,
        what: &str,
        choices: &[(&str, T)],
    ) -> T {
        if let Some((_, value)) = choices.iter().find(|(name, _)| name == word.get_ref()) {
            return *value;
        }
        let names = choices.iter().map(|(name, _)| *name);
        let all: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
        self.problems.add(
            word.span(),
            format!("unknown {what} {:?}", word.get_ref()),
            format!("expected {}", all.join(" or ")),
            did_you_mean(word.get_ref(), names),
        );
        T::default()
    }

    fn at_least(&mut self, least: u32, number: &Spanned<u32>, key: &str) -> u32 {
        if *number.get_ref() < least {
            let message = format!("`{key}` is {}", number.get_ref());
            self.problems.add(number.span(), message, format!("at least {least}"), None);
        }
        *number.get_ref()
    }

    /// A name that can stand in a file name on every system.
    fn check_name(&mut self, name: &Spanned<String>, of: &str) {
        let text = name.get_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(legal) {
            let message = format!("{text:?} cannot be the name of a {of}");
            let help = "a letter or digit, then letters, digits, `-`, `_` and `.`".to_owned();
            self.problems.add(name.span(), message, "stands in file names", Some(help));
        }
    }

    /// An absolute path without dots.
    fn path(&mut self, text: &Spanned<String>) -> Utf8PathBuf {
        if text.get_ref().is_empty() {
            self.problems.add(text.span(), "an empty path", "expected a path", None);
        }
        normal(&self.workspace.join(text.get_ref()))
    }

    /// The absolute path of a file that the job writes, with `{name}` filled in.
    fn output(&mut self, text: &Spanned<String>, key: impl Into<String>) -> Utf8PathBuf {
        let path = Utf8PathBuf::from(self.template(text, &["name"]));
        self.files.output(&path, key, text.span());
        path
    }

    /// The absolute path of a directory that the job writes into.
    fn directory(&mut self, text: &Spanned<String>, key: &str) -> Utf8PathBuf {
        template::check(text, &["name"], self.problems);
        let path = Utf8PathBuf::from(self.filled(text));
        self.files.directory(&path, key, text.span());
        path
    }

    /// The absolute path of a file with `{name}` filled in and the other `allowed` placeholders
    /// left.
    fn template(&mut self, text: &Spanned<String>, allowed: &[&str]) -> String {
        template::check(text, allowed, self.problems);
        if text.get_ref().ends_with('/') {
            let message = format!("{:?} is a directory", text.get_ref());
            self.problems.add(text.span(), message, "expected a file", None);
        }
        self.filled(text)
    }

    fn filled(&mut self, text: &Spanned<String>) -> String {
        template::fill(self.path(text).as_str(), &[("name", &self.name)])
    }
}
