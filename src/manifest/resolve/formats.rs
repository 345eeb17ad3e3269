//! Formats and references: mixes, types and patterns by name, and exactly one baseline.

use regex::Regex;
use toml::Spanned;

use super::Resolver;
use crate::ggml::{GgmlType, Mix};
use crate::manifest::{job, raw};
use crate::steps::{FormatSpec, ImatrixFile, TensorRule};

impl Resolver<'_> {
    /// The formats; `imatrix` is for those that name none of their own.
    pub(super) fn formats(
        &mut self,
        formats: &[raw::Format],
        imatrix: Option<&ImatrixFile>,
    ) -> Vec<job::Format> {
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
                self.choice(role, "role", &[("baseline", Some(raw::FormatRole::Baseline))])
                    .is_some()
            });
            if is_baseline
                && let Some(role) = role
                && let Some(first) = baseline.replace(name)
            {
                let message = format!("`{first}` and `{name}` are both the baseline");
                let help = "keep one: the others are compared with it".to_owned();
                self.problems.add(role.span(), message, "a second one", Some(help));
            }
            let spec = self.format_spec(format, imatrix);
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

    fn format_spec(&mut self, format: &raw::Format, imatrix: Option<&ImatrixFile>) -> FormatSpec {
        let base = format.base.as_ref().unwrap_or(&format.name);
        let help = format.base.is_none().then(|| {
            "a name that is no mix needs a `base`, for example `base = \"q4_K_S\"`".to_owned()
        });
        let name = format.name.get_ref();
        let own = self.imatrix(format.imatrix.as_ref(), &format!("format.imatrix ({name})"));
        let leave = format.leave_output_tensor.as_ref().filter(|leave| *leave.get_ref());
        if let (Some(leave), Some(_)) = (leave, &format.output_tensor_type) {
            let message = "`output.weight` cannot be left as it is and get a type";
            let help = "leave out `leave_output_tensor`, or `output_tensor_type`".to_owned();
            self.problems.add(leave.span(), message, "not with a type", Some(help));
        }
        let mut asked = |ty: &Option<Spanned<String>>| self.ggml_type(ty.as_ref()?);
        FormatSpec {
            output_tensor_type: asked(&format.output_tensor_type),
            token_embedding_type: asked(&format.token_embedding_type),
            name: name.clone().into(),
            base: self.mix(base, help),
            tensors: format.tensors.iter().filter_map(|rule| self.rule(rule)).collect(),
            pure: format.pure,
            leave_output_tensor: leave.is_some(),
            imatrix: own.or_else(|| imatrix.cloned()),
        }
    }

    /// An importance matrix that `key` names.
    pub(super) fn imatrix(
        &mut self,
        path: Option<&Spanned<String>>,
        key: &str,
    ) -> Option<ImatrixFile> {
        let named = path?;
        let path = self.path(named);
        self.files.input(&path, key, named.span());
        Some(ImatrixFile { path: path.into(), name: named.get_ref().clone() })
    }

    /// The canonical spelling of a mix.
    fn mix(&mut self, name: &Spanned<String>, help: Option<String>) -> String {
        match name.get_ref().parse::<Mix>() {
            Ok(mix) => mix.name().to_owned(),
            Err(unknown) => {
                self.problems.add(
                    name.span(),
                    format!("unknown mix {:?}", name.get_ref()),
                    "not one of llama-quantize's",
                    unknown.help().or(help),
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
        let ggml_type = self.ggml_type(&rule.ggml_type);
        regex.ok()?;
        Some(TensorRule { pattern: rule.pattern.get_ref().clone(), ggml_type: ggml_type? })
    }

    /// The type of this name, if there is one.
    fn ggml_type(&mut self, named: &Spanned<String>) -> Option<GgmlType> {
        let name = named.get_ref();
        match name.parse::<GgmlType>() {
            Ok(ty) => Some(ty),
            Err(unknown) => {
                let message = format!("unknown tensor type {name:?}");
                self.problems.add(named.span(), message, "not a ggml type", unknown.help());
                None
            }
        }
    }

    /// The references; `imatrix` is for those that the job makes.
    pub(super) fn references(
        &mut self,
        references: &[raw::Reference],
        imatrix: Option<&ImatrixFile>,
    ) -> Vec<job::Reference> {
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
                    let spec = FormatSpec {
                        name: name.clone().into(),
                        base,
                        imatrix: imatrix.cloned(),
                        ..FormatSpec::default()
                    };
                    let gguf = self.model(&reference.gguf, key);
                    (gguf, job::ReferenceOrigin::Made(spec))
                }
            };
            resolved.push(job::Reference { name: name.clone(), gguf, origin });
        }
        resolved
    }
}
