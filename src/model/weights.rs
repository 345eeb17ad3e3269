//! The tensors of a model, by the rows of its architecture's table.

use crate::arch::{Architecture, Hyper, Kind, Part, Row};

use super::ModelError;
use super::loader::{Loader, Weight};

/// All tensors.
pub struct Weights {
    /// `[hidden, vocab]`, a row per token.
    pub embedding: Weight,
    pub layers: Vec<LayerWeights>,
    pub output_norm: Vec<f32>,
    /// `[hidden, vocab]`, a row per token; without it the embedding is the output.
    pub output: Option<Weight>,
}

/// The tensors of one layer.
pub struct LayerWeights {
    pub attention_norm: Vec<f32>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    /// Norms of the heads.
    pub query_norm: Option<Vec<f32>>,
    pub key_norm: Option<Vec<f32>>,
    pub attention_output: Linear,
    /// One score per query head that takes part in the softmax and has no value.
    pub sinks: Option<Vec<f32>>,
    pub feed_forward_norm: Vec<f32>,
    pub router: Option<Linear>,
    /// `[hidden, width, experts]` each.
    pub gate: Linear,
    pub up: Linear,
    /// `[width, hidden, experts]`.
    pub down: Linear,
}

/// A matrix and its bias. A matrix of experts has their rows one expert after the other.
pub struct Linear {
    pub weight: Weight,
    pub bias: Option<Vec<f32>>,
}

impl Weights {
    /// Takes every tensor out of the source and checks it.
    pub fn load(
        loader: &Loader,
        architecture: &Architecture,
        hyper: &Hyper,
    ) -> Result<Self, ModelError> {
        let tensors = Tensors { loader, architecture, hyper };
        // Not with a capacity: a wrong count fails at the first layer that is not there.
        let mut layers = Vec::new();
        for layer in 0..hyper.layers {
            layers.push(tensors.layer(layer)?);
        }
        Ok(Self {
            embedding: tensors.weight(Part::TokenEmbedding, 0)?,
            layers,
            output_norm: tensors.norm(Part::OutputNorm, 0)?,
            output: match tensors.row(Part::Output, Kind::Weight, 0) {
                Some(_) => Some(tensors.weight(Part::Output, 0)?),
                None => None,
            },
        })
    }
}

struct Tensors<'a> {
    loader: &'a Loader,
    architecture: &'a Architecture,
    hyper: &'a Hyper,
}

impl Tensors<'_> {
    fn layer(&self, layer: usize) -> Result<LayerWeights, ModelError> {
        let linear = |part: Part| self.linear(part, layer);
        let vector = |part: Part| self.vector(part, Kind::Weight, layer);
        let experts = self.hyper.experts > 0;
        let either = |with: Part, without: Part| linear(if experts { with } else { without });
        Ok(LayerWeights {
            attention_norm: self.norm(Part::AttentionNorm, layer)?,
            query: linear(Part::Query)?,
            key: linear(Part::Key)?,
            value: linear(Part::Value)?,
            query_norm: vector(Part::QueryNorm)?,
            key_norm: vector(Part::KeyNorm)?,
            attention_output: linear(Part::AttentionOutput)?,
            sinks: vector(Part::Sinks)?,
            feed_forward_norm: self.norm(Part::FeedForwardNorm, layer)?,
            router: if experts { Some(linear(Part::Router)?) } else { None },
            gate: either(Part::ExpertGate, Part::Gate)?,
            up: either(Part::ExpertUp, Part::Up)?,
            down: either(Part::ExpertDown, Part::Down)?,
        })
    }

    /// The row of a part, unless the model has no such tensor and may do without.
    fn row(&self, part: Part, kind: Kind, layer: usize) -> Option<&Row> {
        let row = self.architecture.row(part, kind)?;
        (!row.optional || self.loader.has(&row.name(kind, layer))).then_some(row)
    }

    fn weight(&self, part: Part, layer: usize) -> Result<Weight, ModelError> {
        let row = self.row(part, Kind::Weight, layer).ok_or_else(|| missing(part))?;
        self.loader.matrix(&row.name(Kind::Weight, layer), &row.shape(Kind::Weight, self.hyper))
    }

    fn vector(&self, part: Part, kind: Kind, layer: usize) -> Result<Option<Vec<f32>>, ModelError> {
        let Some(row) = self.row(part, kind, layer) else { return Ok(None) };
        self.loader.vector(&row.name(kind, layer), &row.shape(kind, self.hyper)).map(Some)
    }

    fn norm(&self, part: Part, layer: usize) -> Result<Vec<f32>, ModelError> {
        self.vector(part, Kind::Weight, layer)?.ok_or_else(|| missing(part))
    }

    fn linear(&self, part: Part, layer: usize) -> Result<Linear, ModelError> {
        let weight = self.weight(part, layer)?;
        Ok(Linear { weight, bias: self.vector(part, Kind::Bias, layer)? })
    }
}

/// The table has no row for what every network has.
fn missing(part: Part) -> ModelError {
    ModelError::MissingTensor { tensor: part.stem().to_owned(), expected: Vec::new() }
}
