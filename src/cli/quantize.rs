//! `qrun quantize`: a GGUF file or a checkpoint in another format, or in several.

use std::process::ExitCode;

use bytesize::ByteSize;
use camino::Utf8PathBuf;
use comfy_table::{CellAlignment, Table, presets};
use regex::Regex;

use super::direct::{Together, run_step};
use super::model_args::{WriteArgs, beside, print_written};
use super::{CliError, Globals, output};
use crate::files::refuse_existing;
use crate::ggml::{GgmlType, Mix};
use crate::steps::quantize::{self, QuantizePlan};
use crate::steps::{
    FormatSpec, ImatrixFile, Label, NativeMxfp4, OnFallback, Out, Provenance, QuantizeSpec, Step,
    StepError, TensorRule,
};

/// Write a model in another format, or in several in one pass
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF file, or directory of a checkpoint
    #[arg(value_name = "IN")]
    input: Utf8PathBuf,
    /// File to write; {format} in it stands for the format's name
    #[arg(value_name = "OUT.gguf", required_unless_present = "dry_run")]
    out: Option<Utf8PathBuf>,
    /// Mix of types, such as q4_K_M, q8_0 or bf16, in any case; repeat it to write several files
    /// in one pass over IN, with {format} in OUT.gguf
    #[arg(long = "format", value_name = "FORMAT", required = true, value_parser = mix)]
    formats: Vec<Mix>,
    /// What to do with tensors that are MXFP4 already: keep or requantize
    #[arg(long, value_name = "CHOICE", default_value = "keep", value_parser = native_mxfp4)]
    native_mxfp4: NativeMxfp4,
    /// What to do where rows are too short for the type asked for: warn, and take one that fits, or
    /// refuse
    #[arg(long, value_name = "CHOICE", default_value = "warn", value_parser = on_fallback)]
    fallback: OnFallback,
    /// Say in the file's metadata, under qrun.*, what it was made of and how; IN is read once more
    /// for its digests
    #[arg(long)]
    provenance: bool,
    /// Give tensors whose name matches REGEX this type; the first match wins
    #[arg(long = "tensor-type", value_name = "REGEX=TYPE", value_parser = tensor_rule)]
    tensor_types: Vec<TensorRule>,
    /// Give every tensor that no other option names the format's base type instead of a mix;
    /// MXFP4 tensors stay unless --native-mxfp4 says otherwise
    #[arg(long)]
    pure: bool,
    /// Type of output.weight; wins over --tensor-type
    #[arg(long, value_name = "TYPE", value_parser = ggml_type)]
    output_tensor_type: Option<GgmlType>,
    /// Type of the token embedding; wins over --tensor-type
    #[arg(long, value_name = "TYPE", value_parser = ggml_type)]
    token_embedding_type: Option<GgmlType>,
    /// Copy output.weight as it is
    #[arg(long, conflicts_with = "output_tensor_type")]
    leave_output_tensor: bool,
    /// Importance matrix of llama-imatrix, in either of its formats
    #[arg(long, value_name = "FILE")]
    imatrix: Option<Utf8PathBuf>,
    /// Show each tensor's type, size and why, and write nothing; exit code as if it were done with
    /// an importance matrix, if it needs one
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    how: WriteArgs,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let specs = args.specs()?;
    if args.dry_run {
        return dry_run(&specs, args.how.json);
    }
    for spec in specs.iter().filter(|_| specs.len() > 1) {
        look_at(spec)?;
    }
    let label = format!("quantize {}", args.input);
    let results = run_step(globals, args.how.threads, &label, |ctx| {
        let ctx = ctx.with_journals(beside(&specs[0].out));
        let together = Together::new(ctx.events, specs.len());
        let sinks = together.sinks();
        let contexts: Vec<_> = sinks.iter().map(|sink| ctx.with_events(sink)).collect();
        let steps: Vec<_> = specs.iter().zip(&contexts).collect();
        quantize::run_all(&steps).into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    print_written(&results, args.how.json)
}

impl Args {
    /// What each format asks for.
    fn specs(&self) -> Result<Vec<QuantizeSpec>, CliError> {
        // Without a file to write to this is a dry run, which writes none.
        let pattern = self.out.clone().unwrap_or_default();
        let mut specs: Vec<QuantizeSpec> = Vec::with_capacity(self.formats.len());
        for format in &self.formats {
            let name = format.name().to_owned();
            let out = Utf8PathBuf::from(pattern.as_str().replace("{format}", &name));
            if self.out.is_some() && specs.iter().any(|s| *s.out == out) {
                return Err(CliError::usage(format!(
                    "{out} would be written twice; with several formats, each given once, \
                     OUT.gguf needs {{format}} in it, such as model-{{format}}.gguf"
                )));
            }
            specs.push(QuantizeSpec {
                source: self.how.checkpoint.source(&self.input),
                format: FormatSpec {
                    name: name.clone().into(),
                    base: name,
                    tensors: self.tensor_types.clone(),
                    pure: self.pure,
                    output_tensor_type: self.output_tensor_type,
                    token_embedding_type: self.token_embedding_type,
                    leave_output_tensor: self.leave_output_tensor,
                    imatrix: self
                        .imatrix
                        .as_ref()
                        .map(|path| ImatrixFile { path: path.into(), name: path.to_string() }),
                },
                native_mxfp4: self.native_mxfp4,
                fallback: self.fallback,
                provenance: self.provenance.then(|| Provenance {
                    made_from: self.how.checkpoint.source(&self.input),
                    inputs: Label::default(),
                }),
                out: Out { path: out, replace: self.how.force },
                split: self.how.split,
                hash_tensors: self.how.json,
            });
        }
        Ok(specs)
    }
}

/// Refuses a format that cannot be written, before others are.
fn look_at(spec: &QuantizeSpec) -> Result<(), CliError> {
    if let Some(problem) = quantize::plan(spec)?.refusal() {
        return Err(CliError::usage(problem));
    }
    for path in spec.model_files()? {
        refuse_existing(&path, spec.out.replace).map_err(StepError::from)?;
    }
    Ok(())
}

/// Prints what would be written, also where it would be refused: the table says of each tensor why.
fn dry_run(specs: &[QuantizeSpec], json: bool) -> Result<ExitCode, CliError> {
    let plans = specs.iter().map(quantize::plan).collect::<Result<Vec<_>, _>>()?;
    if json {
        output::print_one_or_all(&plans)?;
    } else {
        for (spec, plan) in specs.iter().zip(&plans) {
            let title =
                if specs.len() > 1 { format!("{}\n\n", spec.format.name) } else { String::new() };
            output::tell(&format!("{title}{}", describe(plan)))?;
        }
    }
    match plans.iter().find_map(|plan| plan.problem.as_ref()) {
        Some(problem) => Err(CliError::usage(problem)),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn describe(plan: &QuantizePlan) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["tensor", "shape", "from", "to", "bytes", "why"]);
    for tensor in &plan.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        table.add_row([
            tensor.name.clone(),
            shape.join(" x "),
            tensor.from.to_string(),
            tensor.ggml_type.to_string(),
            tensor.bytes.to_string(),
            tensor.why.clone(),
        ]);
    }
    if let Some(bytes) = table.column_mut(4) {
        bytes.set_cell_alignment(CellAlignment::Right);
    }
    let imatrix = plan.imatrix.iter();
    let imatrix: String = imatrix.map(|i| format!("\nimportance matrix {i}")).collect();
    let warnings = plan.warnings.iter().chain(&plan.needs_imatrix);
    let warnings: String = warnings.map(|w| format!("\nwarning: {w}")).collect();
    let parts: String = plan
        .parts
        .iter()
        .map(|part| format!("\n{}: {} tensors, {} bytes", part.path, part.tensors, part.bytes))
        .collect();
    format!(
        "{}\n\nwould write {} bytes ({}), {:.2} bits per weight{parts}{imatrix}{warnings}",
        table.trim_fmt(),
        plan.file_bytes,
        ByteSize(plan.file_bytes).display().si(),
        plan.bits_per_weight
    )
}

fn mix(text: &str) -> Result<Mix, String> {
    text.parse().map_err(|e| format!("{e}"))
}

fn native_mxfp4(text: &str) -> Result<NativeMxfp4, String> {
    match text {
        "keep" => Ok(NativeMxfp4::Keep),
        "requantize" => Ok(NativeMxfp4::Requantize),
        _ => Err("expected keep or requantize".to_owned()),
    }
}

fn on_fallback(text: &str) -> Result<OnFallback, String> {
    match text {
        "warn" => Ok(OnFallback::Warn),
        "refuse" => Ok(OnFallback::Refuse),
        _ => Err("expected warn or refuse".to_owned()),
    }
}

fn ggml_type(name: &str) -> Result<GgmlType, String> {
    name.parse().map_err(|e| format!("{e}"))
}

fn tensor_rule(text: &str) -> Result<TensorRule, String> {
    let (pattern, name) =
        text.rsplit_once('=').ok_or("expected REGEX=TYPE, such as '^output\\.weight$=q6_K'")?;
    Regex::new(pattern).map_err(|e| e.to_string())?;
    let ggml_type = ggml_type(name)?;
    Ok(TensorRule { pattern: pattern.to_owned(), ggml_type })
}
