//! What one source becomes in one format: the types of its tensors and why, and the metadata that
//! say so. Writes nothing.

use super::importance::{self, Weighing};
use super::survey::Survey;
use super::{copied, facts, fallback, provenance, rules};
use crate::checkpoint::QUANTIZATION_VERSION;
use crate::ggml::policy::{self, Policy};
use crate::ggml::{GgmlType, Mix};
use crate::gguf::{Imatrix, Metadata, SPLIT_KEYS, TensorSource, Value};
use crate::steps::model_source::source_warnings;
use crate::steps::write_model::{self, NewFile, NewTensor, new_files, oversized};
use crate::steps::{Context, Level, NativeMxfp4, OnFallback, QuantizeSpec, StepError, UsedImatrix};

/// The choices for one source and format.
pub struct Chosen {
    pub metadata: Metadata,
    /// In file order.
    pub tensors: Vec<NewTensor>,
    pub matrix: Option<Imatrix>,
    /// What stands out of the matrix.
    survey: Survey,
    /// For each tensor of the source, like `why`.
    pub importance: Vec<Weighing>,
    pub why: Vec<String>,
    pub warnings: Vec<String>,
    /// Why this cannot be done, which whoever only asks is told with all the rest.
    pub problem: Option<String>,
    /// What an importance matrix is missing for.
    pub needs_imatrix: Option<String>,
}

impl Chosen {
    /// Chooses.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if the format makes no sense for this
    /// source; [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if the importance matrix is
    /// not what it should be.
    pub fn new(spec: &QuantizeSpec, source: &dyn TensorSource) -> Result<Self, StepError> {
        let format = &spec.format;
        let mix: Mix = format.base.parse().map_err(|e| StepError::usage(format!("{e}")))?;
        let rules = rules::compile(&format.tensors).map_err(StepError::usage)?;
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
            .map(|t| {
                // Of what can only be copied the type is not asked for; see `copied`.
                let ty = t.ggml_type.computable().unwrap_or(GgmlType::F32);
                policy::Tensor { name: &t.name, ty, shape: &t.shape }
            })
            .collect();
        let choices = policy
            .choose(&facts::of(source.metadata()), &tensors)
            .map_err(|e| StepError::usage(format!("format {}: {e}", format.name)))?;
        rules::all_match(&rules, &tensors).map_err(StepError::usage)?;
        let importance: Vec<Weighing> = infos
            .iter()
            .zip(&choices)
            .map(|(info, choice)| Weighing::of(matrix.as_ref(), info, choice))
            .collect();

        let mut metadata = metadata(source.metadata(), mix);
        let mut warnings = source_warnings(source);
        warnings.extend(rules::idle(&rules, &tensors, &choices));
        let fallen = fallback::finding(&tensors, &choices, &rules);
        let refused = fallen
            .as_ref()
            .filter(|_| spec.fallback == OnFallback::Refuse)
            .map(|finding| fallback::refusal(&format.name, finding));
        warnings.extend(fallen);
        let mut survey = Survey::default();
        let mut problem = copied::refusal(format, infos, &choices)
            .or(refused)
            .or_else(|| importance::misfit(format, infos, &choices, &importance));
        if let (Some(file), Some(matrix)) = (&format.imatrix, &matrix) {
            matrix.check_values()?;
            importance::set_metadata(&mut metadata, file, matrix);
            warnings.extend(importance::warnings(matrix, infos, &importance));
            survey = Survey::of(matrix, infos, &choices, &importance);
            warnings.extend(survey.warnings(file.path.as_str()));
            problem = problem.or_else(|| survey.refusal(&format.name, file.path.as_str()));
        }
        // Digests take as much room whatever they are.
        if let Some(asked) = &spec.provenance {
            let inputs = provenance::unread_inputs(asked)?;
            provenance::set(&mut metadata, spec, asked, inputs, None);
        }
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by(|&a, &b| policy::by_layer_and_name(tensors[a].name, tensors[b].name));
        let new = |&i: &usize| NewTensor {
            source: i,
            ggml_type: copied::type_of(&infos[i], &choices[i]),
        };
        let why = choices.iter().zip(&importance).map(|(choice, importance)| {
            let why = choice.why(&rules);
            importance.why().map_or(why.clone(), |more| format!("{why}; {more}"))
        });
        let new_tensors: Vec<NewTensor> = order.iter().map(new).collect();
        warnings.extend(oversized(&write_model::infos(source, &new_tensors), spec.split));
        Ok(Self {
            metadata,
            tensors: new_tensors,
            why: why.collect(),
            problem,
            needs_imatrix: importance::lack(format, infos, &choices, &importance),
            matrix,
            survey,
            importance,
            warnings,
        })
    }

    /// The matrix as the result of the step that `spec` describes names it.
    pub fn used_imatrix(
        &self,
        spec: &QuantizeSpec,
        digests: &mut importance::Digests,
    ) -> Option<UsedImatrix> {
        let (file, matrix) = (spec.format.imatrix.as_ref()?, self.matrix.as_ref()?);
        Some(importance::used(file, matrix, &self.survey, digests))
    }

    /// The files that the model goes into.
    ///
    /// # Errors
    /// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if it would be no GGUF file;
    /// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if there would be too many.
    pub fn files(
        &self,
        spec: &QuantizeSpec,
        source: &dyn TensorSource,
    ) -> Result<Vec<NewFile>, StepError> {
        let infos = write_model::infos(source, &self.tensors);
        new_files(&self.metadata, &infos, &spec.out, spec.split)
    }

    /// Says what is worth knowing before the step begins.
    pub fn tell(&self, source: &dyn TensorSource, ctx: &Context<'_>) {
        for warning in &self.warnings {
            ctx.log(Level::Warn, warning.as_str());
        }
        warn_about_losses(source, &self.tensors, ctx);
        for tensor in &self.tensors {
            let info = &source.tensors()[tensor.source];
            let (name, from, to) = (&info.name, info.ggml_type, tensor.ggml_type);
            let why = &self.why[tensor.source];
            ctx.log(Level::Debug, format!("{name}: {from} to {to}: {why}"));
        }
    }
}

/// The metadata of the quantized file. As llama-quantize does it: what is set moves to the end,
/// and what says that a file is one of several goes.
fn metadata(source: &Metadata, mix: Mix) -> Metadata {
    let mut metadata = source.clone();
    provenance::clear(&mut metadata);
    let set = [
        ("general.quantization_version", QUANTIZATION_VERSION),
        ("general.file_type", mix.file_type()),
    ];
    for (key, value) in set {
        metadata.remove(key);
        metadata.set(key, Value::U32(value));
    }
    for key in SPLIT_KEYS {
        metadata.remove(key);
    }
    metadata
}

/// Quantizing what is quantized already loses twice.
fn warn_about_losses(source: &dyn TensorSource, tensors: &[NewTensor], ctx: &Context<'_>) {
    let again = tensors.iter().filter(|t| {
        let from = source.tensors()[t.source].ggml_type;
        from.block_size() > 1 && from != t.ggml_type
    });
    let (count, example) = again.fold((0, None), |(n, e), t| (n + 1, e.or(Some(t))));
    if let Some(tensor) = example {
        let info = &source.tensors()[tensor.source];
        ctx.log(
            Level::Warn,
            format!(
                "{count} tensors are quantized already and lose precision a second time, such as \
                {} from {} to {}",
                info.name, info.ggml_type, tensor.ggml_type
            ),
        );
    }
}
