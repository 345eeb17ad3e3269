//! The description of convert.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::FileDigest;
use crate::gguf::{TensorInfo, TensorSource};
use crate::steps::write_model::planned_files;
use crate::steps::{
    CheckpointDir, Context, ConvertDtype, FileRef, Measure, ModelWork, Out, Step, StepError,
    TokenizerSource, Work, WriteResult, source_warnings,
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

impl Step for ConvertSpec {
    type Output = WriteResult;
    const KIND: &'static str = "convert";
    // 2: a chat template with the built-in vocabulary; all that the model card says.
    const VERSION: u32 = 2;

    fn run(&self, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
        super::run(self, ctx)
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

    fn measure(&self, source: &dyn TensorSource) -> Result<Option<Measure>, StepError> {
        let files = planned_files(source.metadata(), source.tensors(), &self.out, self.split).ok();
        Ok(files.map(|files| Measure {
            bytes: files.iter().map(|file| file.layout.file_bytes()).sum(),
            work: ModelWork::of(source.metadata(), source.tensors()),
            dequantize: source.tensors().iter().map(TensorInfo::elements).sum(),
            warnings: source_warnings(source),
            ..Measure::default()
        }))
    }

    fn work(
        &self,
        own: Option<&Measure>,
        _: &mut dyn FnMut(&FileRef) -> Option<ModelWork>,
    ) -> Option<Work> {
        own.map(Work::write)
    }

    fn outputs(result: &Value) -> Result<Vec<FileDigest>, StepError> {
        Ok(Self::output(result)?.files().to_vec())
    }

    fn made_of_inputs(result: &Value) -> Result<Vec<Utf8PathBuf>, StepError> {
        Ok(Self::outputs(result)?.into_iter().map(|file| file.path).collect())
    }
}
