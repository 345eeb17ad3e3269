//! What tensors are to a model, and what those of an architecture are called and shaped in a GGUF
//! file.

use super::{Architecture, Hyper};

/// Makes the parts of a list of their names.
macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident $stem:literal,)*) => {
        /// What a tensor is to a model.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Part {
            $($(#[$doc])* $part,)*
        }

        impl Part {
            const ALL: &[Self] = &[$(Self::$part,)*];

            /// Its usual name in a GGUF file, without the layer.
            pub fn stem(self) -> &'static str {
                match self {
                    $(Self::$part => $stem,)*
                }
            }
        }
    };
}

// Those come first whose names end as others' do.
parts! {
    TokenEmbedding "token_embd",
    AttentionNorm "attn_norm",
    Query "attn_q",
    Key "attn_k",
    Value "attn_v",
    /// The norm of each query head.
    QueryNorm "attn_q_norm",
    /// The norm of each key head.
    KeyNorm "attn_k_norm",
    AttentionOutput "attn_output",
    /// One score per query head that takes part in the softmax and has no value.
    Sinks "attn_sinks",
    /// The norm before the feed-forward network.
    FeedForwardNorm "ffn_norm",
    /// What tells which experts a token goes to.
    Router "ffn_gate_inp",
    ExpertGate "ffn_gate_exps",
    ExpertUp "ffn_up_exps",
    ExpertDown "ffn_down_exps",
    Gate "ffn_gate",
    Up "ffn_up",
    Down "ffn_down",
    OutputNorm "output_norm",
    Output "output",
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
    /// The part and its kind that a name in any GGUF file ends with.
    pub fn of(name: &str) -> Option<(Self, Kind)> {
        let (stem, kind) = name.rsplit_once('.')?;
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind)?;
        Some((*Self::ALL.iter().find(|part| stem.ends_with(part.stem()))?, kind))
    }

    /// Whether every layer has one.
    pub(super) fn is_of_layers(self) -> bool {
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
    /// The name without the layer, where it is not the part's usual one.
    pub called: Option<&'static str>,
    /// Dimensions of the weight, slowest first. A bias has all but the last.
    pub shape: &'static [Dim],
    /// Whether it has a bias.
    pub biased: bool,
    /// Whether a model may do without: without a separate output the token embedding is the output.
    pub optional: bool,
    /// What it is made of in each layout of a checkpoint.
    pub from: &'static [Make],
}

/// What a tensor of a GGUF file is made of. Names of parts of layers follow the layout's
/// [`layer`](super::Layout::layer).
#[derive(Clone, Copy, Debug)]
pub enum Make {
    /// The tensor of this name, as it is.
    Same(&'static str),
    /// `.weight` and `.bias` of this name, as they are.
    Linear(&'static str),
    /// Of `.weight` and `.bias` of this name, whose rows are all of the last, those that come after
    /// all of the second.
    Cut(&'static str, &'static [Dim], &'static [Dim]),
    /// Of each expert's matrix or vector under this name the row of the first number, and from there on
    /// those that are as far apart as the second says.
    Experts(&'static str, &'static ExpertNames, usize, usize),
}

/// What the names of tensors that hold all experts end with, after that of the part.
#[derive(Debug)]
pub struct ExpertNames {
    /// Codes and scales of MXFP4.
    pub blocks: &'static str,
    pub scales: &'static str,
    /// Floats, with rows and columns changed over if `transposed`.
    pub plain: &'static str,
    pub transposed: bool,
    pub bias: &'static str,
}

impl Row {
    pub const fn new(part: Part, shape: &'static [Dim], from: &'static [Make]) -> Self {
        Self { part, called: None, shape, biased: false, optional: false, from }
    }

    pub const fn biased(mut self) -> Self {
        self.biased = true;
        self
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

    /// The kinds of tensors it has.
    pub fn kinds(&self) -> &'static [Kind] {
        if self.biased { &Kind::ALL } else { &[Kind::Weight] }
    }

    /// A tensor's name in a GGUF file; `layer` counts for parts of layers.
    pub fn name(&self, kind: Kind, layer: usize) -> String {
        let (stem, kind) = (self.called.unwrap_or(self.part.stem()), kind.name());
        if self.part.is_of_layers() {
            format!("blk.{layer}.{stem}.{kind}")
        } else {
            format!("{stem}.{kind}")
        }
    }

    /// A tensor's dimensions, fastest first.
    pub fn shape(&self, kind: Kind, hyper: &Hyper) -> Vec<u64> {
        let skipped = usize::from(kind == Kind::Bias);
        self.shape.iter().rev().skip(skipped).map(|dim| dim.of(hyper) as u64).collect()
    }

    /// Numbers of its layers, or one number.
    pub fn layers(&self, hyper: &Hyper) -> std::ops::Range<usize> {
        0..if self.part.is_of_layers() { hyper.layers } else { 1 }
    }

    /// Always f32, whatever the file's type: vectors, norms, biases, the router.
    pub fn is_float32(&self, kind: Kind) -> bool {
        self.shape.len() == 1 || kind == Kind::Bias || self.part == Part::Router
    }
}

impl Architecture {
    /// The row of a part, if the architecture has such a tensor.
    pub fn row(&self, part: Part, kind: Kind) -> Option<&Row> {
        self.rows.iter().find(|row| row.part == part && row.kinds().contains(&kind))
    }

    /// The row of the tensor `name` of a model with `layers` layers; `None` if it has no such tensor.
    pub fn row_of(&self, name: &str, layers: usize) -> Option<&Row> {
        let layer = match name.strip_prefix("blk.") {
            Some(rest) => rest.split_once('.')?.0.parse().ok().filter(|layer| *layer < layers)?,
            None => 0,
        };
        // There is one name for a layer: no leading zeros and no sign.
        let is_named = |row: &&Row| row.kinds().iter().any(|kind| row.name(*kind, layer) == name);
        self.rows.iter().find(is_named)
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
            assert_eq!(of(&format!("blk.7.{}.weight", part.stem())), Some(*part));
        }
        assert_eq!(Part::of("blk.7.attn_v.bias"), Some((Part::Value, Kind::Bias)));
        assert_eq!(of("v.blk.0.attn_q.weight"), Some(Part::Query));
        assert_eq!(of("blk.0.attn_qkv.weight"), None);
        assert_eq!(of("rope_freqs"), None);
    }
}
