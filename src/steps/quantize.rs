//! Quantize: writes a model with the types that a format's mix and its rules choose. The tensors
//! are in llama-quantize's order, so that not only each tensor but the whole file is what
//! llama-quantize writes.

use regex::Regex;
use serde::Serialize;

use super::model_source::{identity, open_source, refuse_own_input};
use super::write_model::{FLUSH_BYTES, ModelFile, Target, infos, totals};
use super::{Context, ErrorClass, Level, NativeMxfp4, QuantizeSpec, StepError, WriteResult};
use crate::checkpoint::QUANTIZATION_VERSION;
use crate::ggml::policy::{self, Choice, Policy, Reason, Rule};
use crate::ggml::{GgmlType, Mix};
use crate::gguf::{Layout, Metadata, TensorSource, Value};

/// What quantize would write.
#[derive(Clone, Debug, Serialize)]
pub struct QuantizePlan {
    /// In file order.
    pub tensors: Vec<PlannedTensor>,
    /// Length of the file.
    pub file_bytes: u64,
    pub bits_per_weight: f64,
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
}

/// Does the step.
///
/// # Errors
/// [`ErrorClass::Usage`] if the format makes no sense or the output is there already;
/// [`ErrorClass::Input`] if the source is not what it should be or has weights that are not finite;
/// [`ErrorClass::Host`] if the file cannot be written.
pub fn run(spec: &QuantizeSpec, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
    let source = open_source(&spec.source)?;
    refuse_own_input(&spec.source, &spec.out)?;
    let chosen = Chosen::new(spec, &*source)?;
    for warning in &chosen.warnings {
        ctx.log(Level::Warn, warning.as_str());
    }
    warn_about_losses(&*source, &chosen.targets, ctx);
    for (target, why) in chosen.targets.iter().zip(&chosen.why) {
        let info = &source.tensors()[target.source];
        let (name, from, to) = (&info.name, info.ggml_type, target.ggml_type);
        ctx.log(Level::Debug, format!("{name}: {from} to {to}: {why}"));
    }
    let file = ModelFile {
        source: &*source,
        metadata: &chosen.metadata,
        targets: &chosen.targets,
        out: &spec.out,
        replace: spec.force,
        identity: &identity(&spec.source)?,
        flush_bytes: FLUSH_BYTES,
    };
    file.write(ctx)
}

/// What the step would write; reads headers only.
///
/// # Errors
/// As [`run`], as far as headers tell.
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
    let tensors =
        infos.into_iter().zip(&chosen.targets).zip(chosen.why).map(|((info, target), why)| {
            PlannedTensor {
                bytes: info.bytes(),
                from: source.tensors()[target.source].ggml_type,
                name: info.name,
                shape: info.shape,
                ggml_type: info.ggml_type,
                why,
            }
        });
    Ok(QuantizePlan {
        tensors: tensors.collect(),
        file_bytes: layout.file_bytes(),
        bits_per_weight: bytes as f64 * 8.0 / elements as f64,
    })
}

/// The choices for one source and format.
struct Chosen {
    metadata: Metadata,
    /// In file order.
    targets: Vec<Target>,
    /// One for each target.
    why: Vec<String>,
    warnings: Vec<String>,
}

impl Chosen {
    fn new(spec: &QuantizeSpec, source: &dyn TensorSource) -> Result<Self, StepError> {
        let usage = |message: String| StepError::new(ErrorClass::Usage, message);
        let format = &spec.format;
        let mix: Mix = format.base.parse().map_err(|e| usage(format!("{e}")))?;
        let rules = format
            .tensors
            .iter()
            .map(|rule| match Regex::new(&rule.pattern) {
                Ok(pattern) => Ok(Rule { pattern, ty: rule.ggml_type }),
                Err(e) => Err(usage(format!("{:?} is no regular expression: {e}", rule.pattern))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let policy = Policy {
            mix,
            rules: &rules,
            keep_native_mxfp4: spec.native_mxfp4 == NativeMxfp4::Keep,
            has_importance: false,
        };
        let tensors: Vec<policy::Tensor<'_>> = source
            .tensors()
            .iter()
            .map(|t| policy::Tensor { name: &t.name, ty: t.ggml_type, shape: &t.shape })
            .collect();
        let choices = policy
            .choose(&facts(source.metadata()), &tensors)
            .map_err(|e| usage(format!("format {}: {e}", format.name)))?;
        unused_rules(&rules, &tensors).map_err(usage)?;

        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by(|&a, &b| policy::by_layer_and_name(tensors[a].name, tensors[b].name));
        let targets =
            order.iter().map(|&i| Target { source: i, ggml_type: choices[i].ty }).collect();
        let why = order.iter().map(|&i| choices[i].why(&rules)).collect();
        let warnings = idle_rules(&rules, &tensors, &choices);
        Ok(Self { metadata: metadata(source.metadata(), mix), targets, why, warnings })
    }
}

/// A rule that matches no tensor is a typing error.
fn unused_rules(rules: &[Rule], tensors: &[policy::Tensor<'_>]) -> Result<(), String> {
    match rules.iter().find(|r| !tensors.iter().any(|t| r.pattern.is_match(t.name))) {
        None => Ok(()),
        Some(rule) => Err(format!(
            "the tensor rule {:?} matches none of the {} tensors; `qrun inspect` lists their names",
            rule.pattern.as_str(),
            tensors.len()
        )),
    }
}

/// What to say of rules that match tensors and still decide nothing.
fn idle_rules(rules: &[Rule], tensors: &[policy::Tensor<'_>], choices: &[Choice]) -> Vec<String> {
    let idle = |(index, rule): (usize, &Rule)| {
        if choices.iter().any(|c| c.reason == Reason::Rule(index)) {
            return None;
        }
        let mut matched = tensors.iter().zip(choices);
        let (tensor, choice) = matched.find(|(t, _)| rule.pattern.is_match(t.name))?;
        Some(format!(
            "the tensor rule {:?} decides nothing: what it matches is never quantized or decided \
             by an earlier rule, such as {} ({})",
            rule.pattern.as_str(),
            tensor.name,
            choice.why(rules)
        ))
    };
    rules.iter().enumerate().filter_map(idle).collect()
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
            let policy =
                Policy { mix, rules: &[], keep_native_mxfp4: false, has_importance: false };
            // A mix may be refused; it is the arithmetic that counts.
            let _ = policy.choose(&model, &tensors);
        }
        // Nothing that is taken of the layers overflows, on 32 bits neither.
        assert!(u32::try_from(model.layers).is_ok_and(|n| n.checked_mul(7).is_some()));
    }
}
