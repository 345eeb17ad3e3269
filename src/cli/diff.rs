//! `qrun diff`: two GGUF files, key by key and tensor by tensor.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::direct::{Threads, run_step};
use super::{CliError, Globals, output};
use crate::ggml::StoredType;
use crate::gguf::{Metadata, Name, TensorSource};
use crate::steps::compare::{self, ComparedFiles};

/// Show how two GGUF files differ: metadata, and each tensor's type, bytes and weights
///
/// Errors are those of A's dequantized weights against B's.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF file
    #[arg(value_name = "A.gguf")]
    a: Utf8PathBuf,
    /// GGUF file it is held against
    #[arg(value_name = "B.gguf")]
    b: Utf8PathBuf,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Difference {
    a: Utf8PathBuf,
    b: Utf8PathBuf,
    /// Keys that only one file has or whose values differ.
    metadata: Vec<KeyDifference>,
    /// Tensors that only one file has or that differ in shape, in words.
    unmatched: Vec<String>,
    /// The other tensors, in A's order.
    tensors: Vec<TensorDifference>,
    identical: usize,
    relative_rmse: f64,
}

#[derive(Serialize)]
struct KeyDifference {
    key: String,
    /// `only in A`, `only in B` or `differs`.
    what: &'static str,
}

#[derive(Serialize)]
struct TensorDifference {
    name: String,
    type_a: StoredType,
    type_b: StoredType,
    /// Whether type and bytes are the same.
    identical: bool,
    max_abs: f64,
    mean_abs: f64,
    relative_rmse: f64,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let (a, b, compared) =
        run_step(globals, args.threads, "diff", |ctx| compare::tensors(&args.a, &args.b, ctx))?;
    let difference = Difference {
        a: args.a.clone(),
        b: args.b.clone(),
        metadata: keys(a.metadata(), b.metadata()),
        ..weights(compared)
    };
    if args.json {
        return output::print_json(&difference);
    }
    output::tell(&describe(&difference))?;
    Ok(ExitCode::SUCCESS)
}

fn keys(a: &Metadata, b: &Metadata) -> Vec<KeyDifference> {
    let of = |(key, what): (&Name, &'static str)| KeyDifference { key: key.to_string(), what };
    let in_a = a.entries().filter_map(|(key, value)| match b.value(key) {
        None => Some((key, "only in A")),
        Some(other) if other != value => Some((key, "differs")),
        Some(_) => None,
    });
    let in_b =
        b.entries().filter(|(key, _)| a.value(key).is_none()).map(|(key, _)| (key, "only in B"));
    in_a.chain(in_b).map(of).collect()
}

fn weights(compared: ComparedFiles) -> Difference {
    let tensors = compared.tensors.into_iter().map(|t| TensorDifference {
        name: t.error.name,
        type_a: t.error.ggml_type,
        type_b: t.error.reference_type,
        identical: t.identical,
        max_abs: t.error.max_abs,
        mean_abs: t.mean_abs,
        relative_rmse: t.error.relative_rmse,
    });
    Difference {
        a: Utf8PathBuf::new(),
        b: Utf8PathBuf::new(),
        metadata: Vec::new(),
        unmatched: compared.unmatched,
        tensors: tensors.collect(),
        identical: compared.errors.identical,
        relative_rmse: compared.errors.relative_rmse,
    }
}

fn describe(difference: &Difference) -> String {
    let mut text = String::new();
    for key in &difference.metadata {
        text.push_str(&format!("{} {}\n", key.key, key.what));
    }
    for tensor in &difference.unmatched {
        text.push_str(&format!("{tensor} (A is here, B the reference)\n"));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "tensor",
        "A",
        "B",
        "max error",
        "mean error",
        "relative\nRMSE",
    ]);
    for tensor in difference.tensors.iter().filter(|t| !t.identical) {
        table.add_row([
            tensor.name.clone(),
            tensor.type_a.to_string(),
            tensor.type_b.to_string(),
            format!("{:.3e}", tensor.max_abs),
            format!("{:.3e}", tensor.mean_abs),
            format!("{:.5}", tensor.relative_rmse),
        ]);
    }
    for column in 3..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if difference.identical < difference.tensors.len() {
        text.push_str(&format!("{}\n", table.trim_fmt()));
    }
    text.push_str(&format!(
        "{} of {} tensors have the same type and bytes; relative RMSE of all weights {:.6}",
        difference.identical,
        difference.tensors.len(),
        difference.relative_rmse
    ));
    text
}
