//! `qrun inspect`: the metadata and the tensors of a GGUF file, and where its bytes go.

mod groups;

use std::collections::BTreeMap;
use std::process::ExitCode;

use bytesize::ByteSize;
use camino::{Utf8Path, Utf8PathBuf};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{CliError, output};
use crate::ggml::StoredType;
use crate::gguf::{Array, File, TensorSource, Value};
use crate::steps::StepError;
use groups::Group;

/// Elements of an array that are shown at either end of a longer one.
const ENDS: usize = 4;

/// Characters of a string that are shown in the table.
const WIDTH: usize = 72;

/// Show the metadata and tensors of a GGUF file, and its bits per weight by group
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF file
    #[arg(value_name = "FILE.gguf")]
    file: Utf8PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Inspection {
    path: Utf8PathBuf,
    /// Version of the GGUF format.
    version: u32,
    bytes: u64,
    /// Where it is in several files: each of them, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    /// Bytes that tensor data is aligned to.
    alignment: u64,
    /// Where the data section starts.
    data_start: u64,
    bits_per_weight: f64,
    parameters: u64,
    /// In file order.
    metadata: Vec<Pair>,
    /// In file order.
    tensors: Vec<Tensor>,
    /// Tensors and bytes by type.
    types: BTreeMap<String, TypeTotal>,
    /// The same by the part that tensors play.
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Part {
    path: Utf8PathBuf,
    bytes: u64,
    tensors: usize,
}

#[derive(Serialize)]
struct Pair {
    key: String,
    #[serde(rename = "type")]
    kind: String,
    /// Arrays that are longer than both ends shown: `{"length", "first", "last"}`. What is no UTF-8
    /// in a text is shown as replacement characters.
    value: Json,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    #[serde(rename = "type")]
    ggml_type: StoredType,
    /// Dimensions, fastest first.
    shape: Vec<u64>,
    bytes: u64,
    /// Number of the part that it is in, counted from one, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    /// Where its data starts in its file.
    offset: usize,
}

#[derive(Default, Serialize)]
struct TypeTotal {
    tensors: usize,
    bytes: u64,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let file = File::open(&args.file).map_err(StepError::from)?;
    let inspection = inspect(&file);
    if args.json {
        return output::print_json(&inspection);
    }
    output::tell(&describe(&inspection))?;
    Ok(ExitCode::SUCCESS)
}

fn inspect(file: &File) -> Inspection {
    let mut types: BTreeMap<String, TypeTotal> = BTreeMap::new();
    for info in file.tensors() {
        let total = types.entry(info.ggml_type.to_string()).or_default();
        total.tensors += 1;
        total.bytes += info.bytes();
    }
    let in_parts = file.parts().len() > 1;
    let tensors_of = |part| (0..file.tensors().len()).filter(|&i| file.part(i) == part).count();
    let part = |(number, (path, bytes)): (usize, (&Utf8Path, u64))| Part {
        path: path.to_owned(),
        bytes,
        tensors: tensors_of(number),
    };
    let metadata = file.metadata().iter().map(|(key, value)| {
        let (kind, value) = shown(value);
        Pair { key: key.to_owned(), kind, value }
    });
    let tensors = file.tensors().iter().enumerate().map(|(i, info)| Tensor {
        name: info.name.to_string(),
        ggml_type: info.ggml_type,
        shape: info.shape.clone(),
        bytes: info.bytes(),
        part: in_parts.then(|| file.part(i) + 1),
        offset: file.range(i).start,
    });
    Inspection {
        path: file.path().to_owned(),
        version: file.version(),
        bytes: file.file_bytes(),
        parts: file.parts().enumerate().filter(|_| in_parts).map(part).collect(),
        alignment: file.alignment(),
        data_start: file.data_start(),
        bits_per_weight: file.bits_per_weight(),
        parameters: file.tensors().iter().map(|t| t.elements()).sum(),
        metadata: metadata.collect(),
        tensors: tensors.collect(),
        types,
        groups: groups::groups(file.tensors()),
    }
}

/// The name of a value's type, and the value with the middle of a long array left out.
fn shown(value: &Value) -> (String, Json) {
    match value {
        Value::U8(v) => ("u8".into(), json!(v)),
        Value::I8(v) => ("i8".into(), json!(v)),
        Value::U16(v) => ("u16".into(), json!(v)),
        Value::I16(v) => ("i16".into(), json!(v)),
        Value::U32(v) => ("u32".into(), json!(v)),
        Value::I32(v) => ("i32".into(), json!(v)),
        Value::F32(v) => ("f32".into(), json!(v)),
        Value::Bool(v) => ("bool".into(), json!(v)),
        Value::RawBool(v) => ("bool".into(), json!(*v != 0)),
        Value::String(v) => ("string".into(), json!(v)),
        Value::RawString(v) => ("string".into(), json!(String::from_utf8_lossy(v))),
        Value::U64(v) => ("u64".into(), json!(v)),
        Value::I64(v) => ("i64".into(), json!(v)),
        Value::F64(v) => ("f64".into(), json!(v)),
        Value::Array(array) => {
            let value = match array {
                Array::U8(v) => shown_array(v),
                Array::I8(v) => shown_array(v),
                Array::U16(v) => shown_array(v),
                Array::I16(v) => shown_array(v),
                Array::U32(v) => shown_array(v),
                Array::I32(v) => shown_array(v),
                Array::F32(v) => shown_array(v),
                Array::Bool(v) => shown_array(v),
                Array::RawBool(v) => shown_array(&v.iter().map(|&v| v != 0).collect::<Vec<_>>()),
                Array::String(v) => shown_array(v),
                Array::RawString(v) => {
                    let texts = v.iter().map(|text| String::from_utf8_lossy(text));
                    shown_array(&texts.collect::<Vec<_>>())
                }
                Array::U64(v) => shown_array(v),
                Array::I64(v) => shown_array(v),
                Array::F64(v) => shown_array(v),
            };
            (format!("array of {}", array.element_name()), value)
        }
    }
}

fn shown_array<T: Serialize>(values: &[T]) -> Json {
    if values.len() <= 2 * ENDS {
        return json!(values);
    }
    let (first, last) = (&values[..ENDS], &values[values.len() - ENDS..]);
    json!({ "length": values.len(), "first": first, "last": last })
}

fn describe(inspection: &Inspection) -> String {
    let mut metadata = Table::new();
    metadata.load_style(presets::NOTHING).set_header(["key", "type", "value"]);
    for pair in &inspection.metadata {
        metadata.add_row([pair.key.clone(), pair.kind.clone(), one_line(&pair.value)]);
    }
    let mut tensors = Table::new();
    tensors.load_style(presets::NOTHING).set_header(["tensor", "type", "shape", "bytes", "offset"]);
    for tensor in &inspection.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        tensors.add_row([
            tensor.name.clone(),
            tensor.ggml_type.to_string(),
            shape.join(" x "),
            tensor.bytes.to_string(),
            tensor.offset.to_string(),
        ]);
    }
    for column in [3, 4] {
        if let Some(column) = tensors.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let types: Vec<String> = inspection
        .types
        .iter()
        .map(|(name, t)| format!("{} {name} ({})", t.tensors, ByteSize(t.bytes).display().si()))
        .collect();
    let parts: String = inspection
        .parts
        .iter()
        .map(|part| format!("{}: {} tensors, {} bytes\n", part.path, part.tensors, part.bytes))
        .collect();
    format!(
        "{}: GGUF version {}, {} bytes ({})\n{parts}{} metadata pairs, {} tensors, {} parameters, \
         {:.2} bits per weight\ntypes: {}\n\n{}\n\n{}\n\n{}",
        inspection.path,
        inspection.version,
        inspection.bytes,
        ByteSize(inspection.bytes).display().si(),
        inspection.metadata.len(),
        inspection.tensors.len(),
        inspection.parameters,
        inspection.bits_per_weight,
        types.join(", "),
        groups::table(&inspection.groups),
        metadata.trim_fmt(),
        tensors.trim_fmt()
    )
}

/// A value in one line of bounded length, without control characters.
fn one_line(value: &Json) -> String {
    let text = match value {
        Json::Object(array) => {
            let end = |key: &str| match array.get(key) {
                Some(Json::Array(v)) => {
                    v.iter().map(Json::to_string).collect::<Vec<_>>().join(", ")
                }
                _ => String::new(),
            };
            let length = array.get("length").map(Json::to_string).unwrap_or_default();
            format!("{length}: [{}, ..., {}]", end("first"), end("last"))
        }
        other => other.to_string(),
    };
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(WIDTH).collect();
    match chars.count() {
        0 => start,
        more => format!("{start}... ({more} characters more)"),
    }
}
