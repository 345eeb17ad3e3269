//! What goes into each step, found in its own description, field by field: so a field cannot be
//! missing from the key. The one function here feeds the graph's edges, the key and the explanation of
//! a verdict, so that they cannot drift apart.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use super::Machine;
use super::input_files::InputFiles;
use super::layout::{Node, VERIFY};
use crate::checkpoint::model_name;
use crate::host::HostFacts;
use crate::steps::{ConvertSpec, DependsOn};

/// One thing that goes into a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A setting.
    Parameter { name: String, value: String },
    /// A file from outside, by its digest.
    File { name: String, path: Utf8PathBuf },
    /// The file that another step writes, by its digest.
    Output { name: String, step: String },
    /// Another step's result, by its digest, or the news that it failed.
    Ended { name: String, step: String },
    /// Nothing of the other step, except that it has to succeed first.
    After(String),
    /// A file from outside that is named with its digest, and not read: that it changed meanwhile
    /// spoils nothing.
    Named { name: String, path: Utf8PathBuf },
    /// The files of a format, by its place in the job, or why they are not published.
    Release { name: String, format: usize },
}

/// Where a description's field is called otherwise in the manifest, the manifest's word is shown:
/// beginnings of names, the longer before the shorter.
const WORDS: [(&str, &str); 9] = [
    ("quantize.source.checkpoint.directory", "input.checkpoint"),
    ("quantize.source.checkpoint.tokenizer", "input.tokenizer"),
    ("quantize.source.checkpoint.dtype", "convert.dtype"),
    ("quantize.format", "format"),
    ("convert.checkpoint", "input.checkpoint"),
    ("convert.tokenizer", "input.tokenizer"),
    ("compare.greedy_tokens", "evaluate.greedy_tokens"),
    ("report.bench_json", "bench.out"),
    ("report.checkpoint", "input.checkpoint"),
];

/// Everything that goes into the step `node`; names are unique.
pub fn inputs(
    node: &Node,
    workspace: &Utf8Path,
    files: &InputFiles,
    machine: &Machine,
) -> Vec<Input> {
    let kind = node.draft.kind();
    let mut list = List { workspace, files, inputs: Vec::new() };
    list.parameter(format!("{}.version", kind.name), kind.version);
    // A description that is no JSON is a bug, and the key of no step that ever ran.
    list.add_fields(kind.name, &serde_json::to_value(&node.draft).unwrap_or_default());
    match kind.depends_on {
        DependsOn::Nothing => {}
        DependsOn::Machine => list.host(&machine.host),
        DependsOn::MachineAndProgram => {
            list.host(&machine.host);
            list.parameter("qrun.sha256", &machine.program);
        }
    }
    list.inputs.extend(node.after.iter().cloned().map(Input::After));
    list.inputs
}

struct List<'a> {
    workspace: &'a Utf8Path,
    files: &'a InputFiles,
    inputs: Vec<Input>,
}

impl List<'_> {
    /// A second field that is the same to the manifest is told once.
    fn push(&mut self, input: Input) {
        if !self.inputs.contains(&input) {
            self.inputs.push(input);
        }
    }

    fn parameter(&mut self, name: impl Into<String>, value: impl ToString) {
        self.push(Input::Parameter { name: word(name.into()), value: value.to_string() });
    }

    /// A path as it is seen from the workspace, which may be moved.
    fn place(&mut self, name: String, path: &Utf8Path) {
        self.parameter(name, path.strip_prefix(self.workspace).unwrap_or(path));
    }

    fn file(&mut self, name: String, path: Utf8PathBuf) {
        self.push(Input::File { name: word(name), path });
    }

    /// Adds the fields of a description of `kind`.
    fn add_fields(&mut self, kind: &str, draft: &Value) {
        let fields = draft.as_object().into_iter().flatten();
        for (field, value) in fields.filter(|(field, _)| *field != "kind") {
            self.add(format!("{kind}.{field}"), value);
        }
    }

    /// Adds the field `name` of a description.
    fn add(&mut self, name: String, value: &Value) {
        match value {
            Value::Object(fields) => match special(fields) {
                Some(special) => self.add_special(name, special),
                None => {
                    for (field, value) in fields {
                        self.add(format!("{name}.{field}"), value);
                    }
                }
            },
            Value::Array(items) => self.add_items(name, items),
            Value::String(text) => self.parameter(name, text),
            Value::Null => self.parameter(name, "none"),
            Value::Bool(_) | Value::Number(_) => self.parameter(name, value),
        }
    }

    /// Items that have names go by these, and their order for itself; others by their place.
    fn add_items(&mut self, name: String, items: &[Value]) {
        let names: Option<Vec<&str>> = items.iter().map(|item| item["name"].as_str()).collect();
        if let Some(names) = &names
            && !names.is_empty()
        {
            self.parameter(name.clone(), names.join(", "));
        }
        for (i, item) in items.iter().enumerate() {
            match names.as_ref().map(|names| names[i]) {
                Some(own) => self.add(format!("{name}[{own}]"), item),
                None => self.add(format!("{name}[{i}]"), item),
            }
        }
    }

    fn add_special(&mut self, name: String, special: Special<'_>) {
        match special {
            Special::Label | Special::Out => {}
            Special::File { path, made_by: None } => match self.files.parts(path) {
                [] | [_] => self.file(name, path.to_owned()),
                parts => {
                    for part in parts {
                        let file = part.file_name().unwrap_or_default();
                        self.file(format!("{name}/{file}"), part.clone());
                    }
                }
            },
            Special::File { made_by: Some(step), .. } => {
                self.push(Input::Output { name: word(name), step: step.to_owned() });
            }
            Special::Checkpoint(path) => {
                // The directory's name goes into the file's metadata.
                self.parameter(format!("{name}.name"), model_name(path));
                self.parameter("convert.version", ConvertSpec::KIND.version);
                self.push(Input::After(VERIFY.to_owned()));
                for file in &self.files.checkpoint {
                    self.file(format!("{name}/{file}"), path.join(file));
                }
            }
            Special::Tokenizer(path) => {
                self.parameter(name.clone(), "a directory of its own");
                for file in &self.files.tokenizer {
                    self.file(format!("{name}/{file}"), path.join(file));
                }
            }
            Special::Place(path) => self.place(name, path),
            Special::Named { path, sha256 } => {
                self.place(format!("{name}.path"), path);
                match sha256 {
                    Some(sha256) => self.parameter(name, sha256),
                    None => self.push(Input::Named { name: word(name), path: path.to_owned() }),
                }
            }
            Special::Ended(step) => {
                self.push(Input::Ended { name: word(name), step: step.to_owned() });
            }
            Special::Release(format) => self.push(Input::Release { name: word(name), format }),
        }
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
}

/// A field of one of the types in `steps::refs`.
enum Special<'a> {
    Label,
    Out,
    File { path: &'a Utf8Path, made_by: Option<&'a str> },
    Checkpoint(&'a Utf8Path),
    Tokenizer(&'a Utf8Path),
    Place(&'a Utf8Path),
    Named { path: &'a Utf8Path, sha256: Option<&'a str> },
    Ended(&'a str),
    Release(usize),
}

fn special(fields: &Map<String, Value>) -> Option<Special<'_>> {
    let text = |key: &str| fields.get(key)?.as_str();
    let path = |key: &str| text(key).map(Utf8Path::new);
    if fields.contains_key("$label") {
        return Some(Special::Label);
    }
    if fields.contains_key("$out") {
        return Some(Special::Out);
    }
    None.or_else(|| Some(Special::File { path: path("$file")?, made_by: text("$made_by") }))
        .or_else(|| Some(Special::Checkpoint(path("$checkpoint")?)))
        .or_else(|| Some(Special::Tokenizer(path("$tokenizer")?)))
        .or_else(|| Some(Special::Place(path("$place")?)))
        .or_else(|| Some(Special::Named { path: path("$named")?, sha256: text("sha256") }))
        .or_else(|| Some(Special::Ended(text("$step")?)))
        .or_else(|| {
            let format = fields.get("$published")?.as_u64()?;
            Some(Special::Release(usize::try_from(format).ok()?))
        })
}

/// `name` as the manifest has it.
fn word(name: String) -> String {
    let found = WORDS.iter().find_map(|(ours, theirs)| {
        let rest = name.strip_prefix(ours)?;
        rest.is_empty()
            .then_some(())
            .or_else(|| rest.starts_with(['.', '/', '[']).then_some(()))?;
        Some(format!("{theirs}{rest}"))
    });
    found.unwrap_or(name)
}

#[cfg(test)]
#[path = "ingredients_tests.rs"]
mod tests;
