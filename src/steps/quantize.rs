//! Quantize: writes a model with the types that a format's mix and its rules choose. The tensors
//! are in llama-quantize's order, so that not only each tensor but the whole file is what
//! llama-quantize writes.

mod importance;
mod rules;

use serde::Serialize;

use super::model_source::{identity, open_source, refuse_own_input, weight_files};
use super::write_model::{FLUSH_BYTES, ModelFile, Target, infos, totals, write_all};
use super::{Context, ErrorClass, Level, NativeMxfp4, QuantizeSpec, StepError, WriteResult};
use crate::checkpoint::QUANTIZATION_VERSION;
use crate::ggml::policy::{self, Policy};
use crate::ggml::{GgmlType, Mix};
use crate::gguf::{Imatrix, Layout, Metadata, TensorSource, Value};
use importance::Importance;

/// What quantize would write.
#[derive(Clone, Debug, Serialize)]
pub struct QuantizePlan {
    /// In file order.
    pub tensors: Vec<PlannedTensor>,
    /// Length of the file.
    pub file_bytes: u64,
    pub bits_per_weight: f64,
    /// What the step would warn of.
    pub warnings: Vec<String>,
    /// Why the step would be refused, in words; `None` where it would not.
    pub problem: Option<String>,
}

/// One tensor of a [`QuantizePlan`].
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTensor {
    pub name: String,
    /// Dimensions, fastest first.
    pub shape: Vec<u64>,
    pub from: GgmlType,
    #[serde(rename = "type")]
    pub ggml_type: GgmlType,
    pub bytes: u64,
    /// Why it gets this type, in words.
    pub why: String,
    /// Whether an importance matrix weighs its columns.
    pub uses_importance: bool,
    /// Whether it would be garbage for want of an importance matrix, or of an entry in the one given.
    pub lacks_importance: bool,
}

/// Does the step.
///
/// # Errors
/// [`ErrorClass::Usage`] if the format makes no sense, needs an importance matrix that is not given
/// or is not of this model, or the output is there already; [`ErrorClass::Input`] if the source or
/// the matrix is not what it should be or has values that are not finite;
/// [`ErrorClass::Host`] if the file cannot be written.
pub fn run(spec: &QuantizeSpec, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
    // One file in, one result out.
    run_all(std::slice::from_ref(spec), ctx).map(|mut results| results.remove(0))
}

/// Writes several formats, at least one, in one pass over the source, which is the first's: it is
/// read and dequantized once, and what two formats want in the same type, weighed by the same
/// matrix, is quantized once. The files are those that [`run`] writes one by one.
///
/// # Errors
/// As [`run`]; no file is finished then.
pub fn run_all(specs: &[QuantizeSpec], ctx: &Context<'_>) -> Result<Vec<WriteResult>, StepError> {
    let from = &specs[0].source;
    let source = open_source(from)?;
    let (mut chosen, mut identities) = (Vec::new(), Vec::new());
    for spec in specs {
        let mut inputs = weight_files(from)?;
        inputs.extend(spec.format.imatrix.as_ref().map(|file| file.path.clone()));
        refuse_own_input(&inputs, &spec.out)?;
        let next = Chosen::new(spec, &*source)?;
        if let Some(problem) = next.problem {
            return Err(StepError::new(ErrorClass::Usage, problem));
        }
        if let Some(matrix) = &next.matrix {
            matrix.check_values()?;
        }
        next.tell(&*source, ctx);
        chosen.push(next);
        identities.push(move || identity(&inputs));
    }
    // Formats with the same matrix have to have the same reference to it.
    let matrix = |number: usize| {
        let file = &specs[number].format.imatrix;
        let first = specs.iter().position(|s| s.format.imatrix == *file).unwrap_or(number);
        chosen[first].matrix.as_ref()
    };
    let files = specs.iter().zip(&chosen).zip(&identities).enumerate();
    let files = files.map(|(number, ((spec, chosen), identity))| ModelFile {
        source: &*source,
        metadata: &chosen.metadata,
        targets: &chosen.targets,
        out: &spec.out,
        replace: spec.force,
        identity,
        importance: matrix(number),
        flush_bytes: FLUSH_BYTES,
    });
    write_all(&files.collect::<Vec<_>>(), ctx)
}

/// What the step would write; reads headers only.
///
/// # Errors
/// As [`run`], as far as headers tell; but what importance matrix there is or is not is the plan's
/// `problem`.
pub fn plan(spec: &QuantizeSpec) -> Result<QuantizePlan, StepError> {
    plan_source(&*open_source(&spec.source)?, spec)
}

/// [`plan`] with the source opened already; the one that `spec` names is not looked at.
///
/// # Errors
/// As [`plan`].
pub fn plan_source(
    source: &dyn TensorSource,
    spec: &QuantizeSpec,
) -> Result<QuantizePlan, StepError> {
    let chosen = Chosen::new(spec, source)?;
    let infos = infos(source, &chosen.targets);
    let layout = Layout::new(&chosen.metadata, &infos)
        .map_err(|e| StepError::new(ErrorClass::Step, format!("{}: {e}", spec.out)))?;
    let (bytes, elements) = totals(&infos);
    let tensors = infos.into_iter().zip(&chosen.targets).map(|(info, target)| PlannedTensor {
        bytes: info.bytes(),
        from: source.tensors()[target.source].ggml_type,
        name: info.name,
        shape: info.shape,
        ggml_type: info.ggml_type,
        why: chosen.why[target.source].clone(),
        uses_importance: chosen.importance[target.source] == Importance::Used,
        lacks_importance: chosen.importance[target.source] == Importance::MissingAndNeeded,
    });
    Ok(QuantizePlan {
        tensors: tensors.collect(),
        file_bytes: layout.file_bytes(),
        bits_per_weight: bytes as f64 * 8.0 / elements as f64,
        warnings: chosen.warnings,
        problem: chosen.problem,
    })
}

/// The choices for one source and format.
struct Chosen {
    metadata: Metadata,
    /// In file order.
    targets: Vec<Target>,
    matrix: Option<Imatrix>,
    /// For each tensor of the source, like `why`.
    importance: Vec<Importance>,
    why: Vec<String>,
    warnings: Vec<String>,
    /// Why this cannot be done, which whoever only asks is told with all the rest.
    problem: Option<String>,
}

impl Chosen {
    fn new(spec: &QuantizeSpec, source: &dyn TensorSource) -> Result<Self, StepError> {
        let usage = |message: String| StepError::new(ErrorClass::Usage, message);
        let format = &spec.format;
        let mix: Mix = format.base.parse().map_err(|e| usage(format!("{e}")))?;
        let rules = rules::compile(&format.tensors).map_err(usage)?;
        let matrix = format.imatrix.as_ref().map(|f| Imatrix::open(&f.path)).transpose()?;
        let policy = Policy {
            mix,
            rules: &rules,
            keep_native_mxfp4: spec.native_mxfp4 == NativeMxfp4::Keep,
            pure: format.pure,
            output: format.output_tensor_type,
            token_embedding: format.token_embedding_type,
            leave_output: format.leave_output_tensor,
            has_importance: matrix.is_some(),
        };
        let infos = source.tensors();
        let tensors: Vec<policy::Tensor<'_>> = infos
            .iter()
            .map(|t| policy::Tensor { name: &t.name, ty: t.ggml_type, shape: &t.shape })
            .collect();
        let choices = policy
            .choose(&facts(source.metadata()), &tensors)
            .map_err(|e| usage(format!("format {}: {e}", format.name)))?;
        rules::all_match(&rules, &tensors).map_err(usage)?;
        let importance: Vec<Importance> = infos
            .iter()
            .zip(&choices)
            .map(|(info, choice)| Importance::of(matrix.as_ref(), info, choice))
            .collect();

        let mut metadata = metadata(source.metadata(), mix);
        let mut warnings = rules::idle(&rules, &tensors, &choices);
        if let (Some(file), Some(matrix)) = (&format.imatrix, &matrix) {
            importance::set_metadata(&mut metadata, file, matrix);
            warnings.extend(importance::warnings(matrix, infos, &importance));
        }
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by(|&a, &b| policy::by_layer_and_name(tensors[a].name, tensors[b].name));
        let target = |&i: &usize| Target { source: i, ggml_type: choices[i].ty };
        let why = choices.iter().zip(&importance).map(|(choice, importance)| {
            let why = choice.why(&rules);
            importance.why().map_or(why.clone(), |more| format!("{why}; {more}"))
        });
        Ok(Self {
            metadata,
            targets: order.iter().map(target).collect(),
            why: why.collect(),
            problem: importance::problem(format, infos, &choices, &importance),
            matrix,
            importance,
            warnings,
        })
    }

    /// Says what is worth knowing before the step begins.
    fn tell(&self, source: &dyn TensorSource, ctx: &Context<'_>) {
        for warning in &self.warnings {
            ctx.log(Level::Warn, warning.as_str());
        }
        warn_about_losses(source, &self.targets, ctx);
        for target in &self.targets {
            let info = &source.tensors()[target.source];
            let (name, from, to) = (&info.name, info.ggml_type, target.ggml_type);
            let why = &self.why[target.source];
            ctx.log(Level::Debug, format!("{name}: {from} to {to}: {why}"));
        }
    }
}

/// What the mixes ask about a model.
fn facts(metadata: &Metadata) -> policy::Model {
    // More than any model has, and few enough that no share of it overflows.
    const MOST: u32 = u32::MAX / 16;
    let architecture = metadata.str("general.architecture").unwrap_or_default();
    let number = |key: &str| {
        let value = metadata.u64(&format!("{architecture}.{key}")).unwrap_or(0);
        value.min(u64::from(MOST)) as usize
    };
    let heads = number("attention.head_count");
    let kv_heads = match number("attention.head_count_kv") {
        0 => heads,
        n => n,
    };
    policy::Model {
        layers: number("block_count"),
        experts: number("expert_count"),
        heads,
        kv_heads,
    }
}

/// The metadata of the quantized file. As llama-quantize does it: what is set moves to the end,
/// and what says that a file is one of several goes.
fn metadata(source: &Metadata, mix: Mix) -> Metadata {
    let mut metadata = source.clone();
    let set = [
        ("general.quantization_version", QUANTIZATION_VERSION),
        ("general.file_type", mix.file_type()),
    ];
    for (key, value) in set {
        metadata.remove(key);
        metadata.set(key, Value::U32(value));
    }
    for key in ["split.no", "split.count", "split.tensors.count"] {
        metadata.remove(key);
    }
    metadata
}

/// Quantizing what is quantized already loses twice.
fn warn_about_losses(source: &dyn TensorSource, targets: &[Target], ctx: &Context<'_>) {
    let again = targets.iter().filter(|t| {
        let from = source.tensors()[t.source].ggml_type;
        from.block_size() > 1 && from != t.ggml_type
    });
    let (count, example) = again.fold((0, None), |(n, e), t| (n + 1, e.or(Some(t))));
    if let Some(target) = example {
        let info = &source.tensors()[target.source];
        ctx.log(
            Level::Warn,
            format!(
                "{count} tensors are quantized already and lose precision a second time, such as \
                 {} from {} to {}",
                info.name, info.ggml_type, target.ggml_type
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_claims_endless_layers_is_no_panic() {
        let mut metadata = Metadata::default();
        metadata.set("general.architecture", Value::String("gpt-oss".into()));
        metadata.set("gpt-oss.block_count", Value::U64(u64::MAX));
        let model = facts(&metadata);
        let names = ["blk.3.ffn_down.weight", "blk.3.ffn_up.weight", "blk.3.attn_v.weight"];
        let tensors =
            names.map(|name| policy::Tensor { name, ty: GgmlType::F16, shape: &[256, 256] });
        for &mix in Mix::ALL {
            // A mix may be refused; it is the arithmetic that counts.
            let _ = Policy::of(mix).choose(&model, &tensors);
        }
        // Nothing that is taken of the layers overflows, on 32 bits neither.
        assert!(u32::try_from(model.layers).is_ok_and(|n| n.checked_mul(7).is_some()));
    }
}
