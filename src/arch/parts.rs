//! What tensors are to a model, and what those of an architecture are called and shaped in a GGUF
//! file.

use super::{Architecture, Hyper};

/// What a tensor is to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    TokenEmbedding,
    AttentionNorm,
    Query,
    Key,
    Value,
    /// The norm of each query head.
    QueryNorm,
    /// The norm of each key head.
    KeyNorm,
    AttentionOutput,
    /// One score per query head that takes part in the softmax and has no value.
    Sinks,
    /// The norm before the feed-forward network.
    FeedForwardNorm,
    /// What tells which experts a token goes to.
    Router,
    ExpertGate,
    ExpertUp,
    ExpertDown,
    Gate,
    Up,
    Down,
    OutputNorm,
    Output,
}

/// What a token reads of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// One row.
    Row,
    All,
    /// The experts that it goes to.
    UsedExperts,
}

impl Part {
    /// All parts, those first whose names end as others' do.
    const ALL: [Self; 19] = [
        Self::TokenEmbedding,
        Self::AttentionNorm,
        Self::QueryNorm,
        Self::KeyNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::Sinks,
        Self::FeedForwardNorm,
        Self::Router,
        Self::ExpertGate,
        Self::ExpertUp,
        Self::ExpertDown,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::OutputNorm,
        Self::Output,
    ];

    /// Its usual name in a GGUF file, without the layer.
    pub fn stem(self) -> &'static str {
        match self {
            Self::TokenEmbedding => "token_embd",
            Self::AttentionNorm => "attn_norm",
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::QueryNorm => "attn_q_norm",
            Self::KeyNorm => "attn_k_norm",
            Self::AttentionOutput => "attn_output",
            Self::Sinks => "attn_sinks",
            Self::FeedForwardNorm => "ffn_norm",
            Self::Router => "ffn_gate_inp",
            Self::ExpertGate => "ffn_gate_exps",
            Self::ExpertUp => "ffn_up_exps",
            Self::ExpertDown => "ffn_down_exps",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
            Self::OutputNorm => "output_norm",
            Self::Output => "output",
        }
    }

    /// The part and its kind that a name in any GGUF file ends with.
    pub fn of(name: &str) -> Option<(Self, Kind)> {
        let (stem, kind) = name.rsplit_once('.')?;
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind)?;
        Some((Self::ALL.into_iter().find(|part| stem.ends_with(part.stem()))?, kind))
    }

    /// Whether every layer has one.
    fn of_layers(self) -> bool {
        !matches!(self, Self::TokenEmbedding | Self::OutputNorm | Self::Output)
    }

    /// Whether it is one of all experts in one.
    pub fn is_of_experts(self) -> bool {
        self.reads() == Reads::UsedExperts
    }

    /// What a token reads of it.
    pub fn reads(self) -> Reads {
        match self {
            Self::TokenEmbedding => Reads::Row,
            Self::ExpertGate | Self::ExpertUp | Self::ExpertDown => Reads::UsedExperts,
            _ => Reads::All,
        }
    }
}

/// Whether a tensor multiplies or is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Weight,
    Bias,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Weight, Self::Bias];

    fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }
}

/// A dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    Hidden,
    Vocab,
    /// All query heads side by side.
    Queries,
    /// All key heads, or value heads, side by side.
    Keys,
    Heads,
    HeadDim,
    Width,
    Experts,
}

impl Dim {
    pub fn of(self, hyper: &Hyper) -> usize {
        match self {
            Self::Hidden => hyper.hidden,
            Self::Vocab => hyper.vocab,
            Self::Queries => hyper.heads * hyper.head_dim,
            Self::Keys => hyper.kv_heads * hyper.head_dim,
            Self::Heads => hyper.heads,
            Self::HeadDim => hyper.head_dim,
            Self::Width => hyper.width,
            Self::Experts => hyper.experts,
        }
    }
}

/// The tensors of one part, one for each layer if it is in layers: what they are called, how they are
/// shaped, and what they are made of.
pub struct Row {
    pub part: Part,
    pub kind: Kind,
    /// The name without the layer, where it is not the part's usual one.
    pub called: Option<&'static str>,
    /// Dimensions, slowest first.
    pub shape: &'static [Dim],
    /// Whether a model may do without: without a separate output the token embedding is the output.
    pub optional: bool,
    /// What it is made of in each layout of a checkpoint.
    pub from: &'static [Make],
}

/// What a tensor is made of. Names have `{l}` for the layer.
#[derive(Clone, Copy, Debug)]
pub enum Make {
    /// The tensor of this name, as it is.
    Same(&'static str),
    /// Rows, or a vector's elements, of a longer one: those of `all` that come after `before`.
    Cut { name: &'static str, before: &'static [Dim], all: &'static [Dim] },
    /// Of each expert's vector the element `first` and every `step`-th after it.
    Every { name: &'static str, first: usize, step: usize },
    /// Of each expert's matrix the row `first` and every `step`-th after it: as MXFP4 in `blocks` and
    /// `scales`, or else as floats in `plain`, with rows and columns changed over if `transposed`.
    Experts {
        blocks: &'static str,
        scales: &'static str,
        plain: &'static str,
        transposed: bool,
        first: usize,
        step: usize,
    },
}

impl Row {
    const fn new(part: Part, kind: Kind, shape: &'static [Dim], from: &'static [Make]) -> Self {
        Self { part, kind, called: None, shape, optional: false, from }
    }

    pub const fn weight(part: Part, shape: &'static [Dim], from: &'static [Make]) -> Self {
        Self::new(part, Kind::Weight, shape, from)
    }

    pub const fn bias(part: Part, shape: &'static [Dim], from: &'static [Make]) -> Self {
        Self::new(part, Kind::Bias, shape, from)
    }

    /// The same under another name than the part's usual one.
    pub const fn called(mut self, name: &'static str) -> Self {
        self.called = Some(name);
        self
    }

    /// The same, of a part that a model may do without.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Its name in a GGUF file; `layer` counts for parts of layers.
    pub fn name(&self, layer: usize) -> String {
        let stem = self.called.unwrap_or(self.part.stem());
        let kind = self.kind.name();
        if self.part.of_layers() {
            format!("blk.{layer}.{stem}.{kind}")
        } else {
            format!("{stem}.{kind}")
        }
    }

    /// Its dimensions, slowest first.
    pub fn shape(&self, hyper: &Hyper) -> Vec<u64> {
        self.shape.iter().map(|dim| dim.of(hyper) as u64).collect()
    }

    /// Numbers of its layers, or one number.
    pub fn layers(&self, hyper: &Hyper) -> std::ops::Range<usize> {
        0..if self.part.of_layers() { hyper.layers } else { 1 }
    }

    /// Always f32, whatever the file's type: vectors, norms, biases, the router.
    pub fn is_float32(&self) -> bool {
        self.shape.len() == 1 || self.kind == Kind::Bias || self.part == Part::Router
    }
}

impl Architecture {
    /// The row of a part, if the architecture has it.
    pub fn row(&self, part: Part, kind: Kind) -> Option<&Row> {
        self.rows.iter().find(|row| row.part == part && row.kind == kind)
    }

    /// The row of the tensor `name` of a model with `layers` layers; `None` if it has no such tensor.
    pub fn row_of(&self, name: &str, layers: usize) -> Option<&Row> {
        let layer = match name.strip_prefix("blk.") {
            Some(rest) => rest.split_once('.')?.0.parse().ok().filter(|layer| *layer < layers)?,
            None => 0,
        };
        // There is one name for a layer: no leading zeros and no sign.
        self.rows.iter().find(|row| row.name(layer) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::gpt_oss::GPT_OSS;

    #[test]
    fn a_tensor_has_one_name() {
        let part = |name: &str| GPT_OSS.row_of(name, 2).map(|row| row.part);
        assert_eq!(part("token_embd.weight"), Some(Part::TokenEmbedding));
        assert_eq!(part("blk.1.attn_q.bias"), Some(Part::Query));
        assert_eq!(part("blk.1.post_attention_norm.weight"), Some(Part::FeedForwardNorm));
        assert_eq!(part("blk.0.ffn_up_exps.weight"), Some(Part::ExpertUp));
        for none in [
            "blk.2.attn_q.bias",
            "blk.01.attn_q.bias",
            "blk.+1.attn_q.bias",
            "blk.0.attn_norm.bias",
            "blk.0.attn_q.scale",
            "blk.0.attn_q.weight.more",
            "blk.0.attn_qkv.weight",
            "blk.0.output.weight",
            "attn_q.weight",
            "rope_freqs.weight",
            "output.bias",
        ] {
            assert_eq!(part(none), None, "{none}");
        }
    }

    #[test]
    fn any_name_ends_with_one_part() {
        let of = |name: &str| Part::of(name).map(|(part, _)| part);
        for part in Part::ALL {
            assert_eq!(of(&format!("blk.7.{}.weight", part.stem())), Some(part));
        }
        assert_eq!(Part::of("blk.7.attn_v.bias"), Some((Part::Value, Kind::Bias)));
        assert_eq!(of("v.blk.0.attn_q.weight"), Some(Part::Query));
        assert_eq!(of("blk.0.attn_qkv.weight"), None);
        assert_eq!(of("rope_freqs"), None);
    }
}
