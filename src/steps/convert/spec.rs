//! The description of convert.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gguf::{TensorInfo, TensorSource};
use crate::steps::write_model::new_files;
use crate::steps::{
    CheckpointDir, ConvertDtype, Effects, Kind, ModelCost, ModelCosts, Out, PlannedModel, Step,
    StepError, TokenizerSource, Work, WriteResult, source_warnings,
};

/// Write a checkpoint as a GGUF file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConvertSpec {
    /// Directory with `config.json` and `*.safetensors`.
    pub checkpoint: CheckpointDir,
    pub tokenizer: TokenizerSource,
    pub dtype: ConvertDtype,
    pub out: Out,
    /// Write parts of at most so many bytes of tensors, named after `out`, as llama-gguf-split does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<u64>,
    /// Say the SHA-256 of each tensor's data in the result. It takes a quarter more of processor time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hash_tensors: bool,
}

impl ConvertSpec {
    /// What all convert steps have in common.
    // 2: a chat template with the built-in vocabulary; all that the model card says.
    pub const KIND: Kind = Kind::new("convert", 2);
}

impl Step for ConvertSpec {
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
        let files = new_files(source.metadata(), source.tensors(), &self.out, self.split).ok();
        Ok(files.map(|files| PlannedModel {
            bytes: files.iter().map(|file| file.layout.file_bytes()).sum(),
            cost: ModelCost::of(source.metadata(), source.tensors()),
            dequantize: source.tensors().iter().map(TensorInfo::elements).sum(),
            warnings: source_warnings(source),
            ..PlannedModel::default()
        }))
    }

    fn work(&self, own: Option<&PlannedModel>, _: &mut ModelCosts<'_>) -> Option<Work> {
        own.map(Work::write)
    }

    fn effects(&self, result: &Value) -> Result<Effects, StepError> {
        Ok(Self::KIND.read::<WriteResult>(result)?.effects())
    }
}
