//! The description of quantize.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PlannedTensor, QuantizePlan};
use crate::ggml::GgmlType;
use crate::gguf::{TensorInfo, TensorSource};
use crate::steps::{
    Effects, FileRef, Kind, Label, ModelCost, ModelCosts, Out, PlannedModel, QuantizeSource, Step,
    StepError, Work, WriteResult,
};

/// What quantize does with experts that are MXFP4 already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NativeMxfp4 {
    /// Copy them unchanged.
    #[default]
    Keep,
    /// Quantize them again, as the format says.
    Requantize,
}

/// What quantize does where rows are too short for the blocks of the type that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFallback {
    /// Take a type that fits, as llama-quantize does, and say so.
    #[default]
    Warn,
    /// Write nothing.
    Refuse,
}

/// An override: tensors whose name matches get this type; the first match wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorRule {
    /// Regular expression searched in the tensor's name.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Type name, in any case.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub ggml_type: GgmlType,
}

/// A format: a mix and its overrides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FormatSpec {
    /// The name as the manifest has it; stands in file names.
    pub name: Label<String>,
    /// The mix (`q4_K_M`, `q8_0`, ...), in canonical spelling.
    pub base: String,
    /// Overrides, first match wins.
    pub tensors: Vec<TensorRule>,
    /// Every tensor that no override names gets the mix's base type.
    pub pure: bool,
    /// Type of `output.weight`; wins over the overrides.
    pub output_tensor_type: Option<GgmlType>,
    /// Type of the token embedding; wins over the overrides.
    pub token_embedding_type: Option<GgmlType>,
    /// Copy `output.weight` as it is.
    pub leave_output_tensor: bool,
    /// The importance matrix, if there is one.
    pub imatrix: Option<ImatrixFile>,
}

/// An importance matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImatrixFile {
    pub path: FileRef,
    /// Its path as the user typed it: the quantized file's metadata holds it, and has to be the
    /// same wherever the workspace is.
    pub name: String,
}

/// What a quantized file is to say of where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// What the source is, or was converted from.
    pub made_from: QuantizeSource,
    /// SHA-256 of each of its files that decide what is made of it, by name as
    /// [`input_files`](super::input_files) has it. `None`: the step reads them to find out. The
    /// source itself is in the key.
    pub inputs: Label<Option<BTreeMap<String, String>>>,
}

/// Write a model in another format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuantizeSpec {
    pub source: QuantizeSource,
    pub format: FormatSpec,
    pub native_mxfp4: NativeMxfp4,
    #[serde(default)]
    pub fallback: OnFallback,
    /// What the file is to say of where it comes from; `None` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    pub out: Out,
    /// Write parts of at most so many bytes of tensors, named after `out`, as llama-gguf-split does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<u64>,
    /// Say the SHA-256 of each tensor's data in the result. It takes a quarter more of processor time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hash_tensors: bool,
}

impl QuantizeSpec {
    /// What all quantize steps have in common.
    // 2: q5_K cuts the levels of its scales where importance is known, too.
    // 3: a chat template with the built-in vocabulary; all that the model card says.
    pub const KIND: Kind = Kind::new("quantize", 3);
}

impl Step for QuantizeSpec {
    /// Its source.
    fn shares(&self) -> Option<String> {
        serde_json::to_string(&self.source).ok()
    }

    fn out(&mut self) -> Option<&mut Out> {
        Some(&mut self.out)
    }

    fn model_files(&self) -> Result<Vec<Utf8PathBuf>, StepError> {
        super::output_paths(self)
    }

    fn is_split(&self) -> bool {
        self.split.is_some()
    }

    fn planned_model(&self, source: &dyn TensorSource) -> Result<Option<PlannedModel>, StepError> {
        let plan = super::plan_source(source, self)?;
        match plan.refusal() {
            Some(problem) => Err(StepError::usage(problem)),
            None => Ok(Some(planned_model(source, plan))),
        }
    }

    fn work(&self, own: Option<&PlannedModel>, _: &mut ModelCosts<'_>) -> Option<Work> {
        own.map(Work::write)
    }

    fn effects(&self, result: &Value) -> Result<Effects, StepError> {
        Ok(Self::KIND.read::<WriteResult>(result)?.effects())
    }
}

/// What is to be said of a file that is quantized from `source`.
fn planned_model(source: &dyn TensorSource, plan: QuantizePlan) -> PlannedModel {
    let info = |t: &PlannedTensor| TensorInfo::new(t.name.as_str(), t.ggml_type, t.shape.clone());
    let infos: Vec<TensorInfo> = plan.tensors.iter().map(info).collect();
    let mut file = PlannedModel {
        bytes: plan.file_bytes,
        cost: ModelCost::of(source.metadata(), &infos),
        warnings: plan.warnings,
        ..PlannedModel::default()
    };
    // The others are copied.
    let changed = plan.tensors.iter().zip(&infos).filter(|(t, _)| t.from != t.ggml_type);
    for (tensor, info) in changed {
        file.dequantize += info.elements();
        if let Some(ty) = tensor.ggml_type.computable() {
            *file.quantize.entry((ty, tensor.uses_importance)).or_default() += info.elements();
        }
    }
    file
}
