//! Which tensors a gpt-oss checkpoint holds in either published layout, and which GGUF tensors
//! they become. Knows names and shapes, no files.
//!
//! Names, shapes, order and types are those of llama.cpp's converter (`conversion/gpt_oss.py` and
//! `conversion/base.py`).

use super::Config;

/// The two published layouts of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `model.layers.N...`, with a `config.json` that has a `model_type`.
    HuggingFace,
    /// `block.N...`, as in the directory `original/`.
    Original,
}

/// How a checkpoint holds its experts' weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertWeights {
    /// Blocks of 4-bit codes and a tensor of scales.
    Mxfp4,
    /// Floats, as fine-tunes have them.
    Plain,
}

/// A tensor as the checkpoint must hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub name: String,
    /// Dimensions as safetensors lists them: slowest first.
    pub shape: Vec<u64>,
}

/// Where the rows of a GGUF tensor come from. Row `r` of expert `e` (zero where there is but one
/// matrix) is called `(e, r)`; `step` is 2 where gate (`first` 0) and up (`first` 1) interleave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Row `(e, r)` is row `(e, first + r * step)` of `tensor`.
    Rows { tensor: Stored, first: usize, step: usize },
    /// Column `c` of row `r` is column `first + c * step` of row `r` of `tensor`.
    Columns { tensor: Stored, first: usize, step: usize },
    /// Row `(e, r)` is column `first + r * step` of matrix `e` of `tensor`.
    Transposed { tensor: Stored, first: usize, step: usize },
    /// Row `(e, r)` is row `(e, first + r * step)` of `blocks` (16 bytes of codes for 32 weights)
    /// and `scales`.
    Mxfp4 { blocks: Stored, scales: Stored, first: usize, step: usize },
}

/// A GGUF tensor and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// GGUF name.
    pub name: String,
    /// Dimensions, fastest first.
    pub shape: Vec<u64>,
    /// Always f32, whatever the file's type: vectors, norms, biases, the router.
    pub float32: bool,
    pub source: Source,
    /// The Hugging Face tensor at which the converter writes this one; it goes through them by
    /// name.
    pub order: String,
}

impl Mapped {
    /// The tensors of the checkpoint that this one is made of.
    pub fn stored(&self) -> impl Iterator<Item = &Stored> {
        let (first, second) = match &self.source {
            Source::Rows { tensor, .. }
            | Source::Columns { tensor, .. }
            | Source::Transposed { tensor, .. } => (tensor, None),
            Source::Mxfp4 { blocks, scales, .. } => (blocks, Some(scales)),
        };
        std::iter::once(first).chain(second)
    }

    /// Whether the weights are stored as MXFP4.
    pub fn is_mxfp4(&self) -> bool {
        matches!(self.source, Source::Mxfp4 { .. })
    }
}

/// The name of the first layer's expert weights where they are MXFP4; its presence tells.
pub fn mxfp4_probe(layout: Layout) -> &'static str {
    match layout {
        Layout::HuggingFace => "model.layers.0.mlp.experts.gate_up_proj_blocks",
        Layout::Original => "block.0.mlp.mlp1_weight.blocks",
    }
}

/// Every GGUF tensor of a checkpoint with this configuration, in the order in which the converter
/// writes those of one file: MXFP4 experts first, then the rest, each by Hugging Face name.
pub fn tensor_map(config: &Config, layout: Layout, experts: ExpertWeights) -> Vec<Mapped> {
    let mut map = Builder { layout, experts, tensors: Vec::new() };
    let (hidden, vocab) = (config.hidden as u64, config.vocab as u64);
    map.plain(
        "token_embd.weight",
        "model.embed_tokens.weight",
        "embedding.weight",
        &[vocab, hidden],
    );
    map.plain("output.weight", "lm_head.weight", "unembedding.weight", &[vocab, hidden]);
    map.plain("output_norm.weight", "model.norm.weight", "norm.scale", &[hidden]);
    for layer in 0..config.layers {
        map.attention(config, layer);
        map.mixture(config, layer);
    }
    // Stable, so gate stays before up.
    map.tensors
        .sort_by(|a, b| (!a.is_mxfp4(), a.order.as_str()).cmp(&(!b.is_mxfp4(), b.order.as_str())));
    map.tensors
}

struct Builder {
    layout: Layout,
    experts: ExpertWeights,
    tensors: Vec<Mapped>,
}

impl Builder {
    fn push(&mut self, name: String, stored_shape: &[u64], source: Source, order: String) {
        let shape: Vec<u64> = stored_shape.iter().rev().copied().collect();
        let float32 = shape.len() == 1
            || !name.ends_with(".weight")
            || name.ends_with("_norm.weight")
            || name.ends_with("ffn_gate_inp.weight");
        self.tensors.push(Mapped { name, shape, float32, source, order });
    }

    /// A tensor that is the same in both layouts but for its name.
    fn plain(&mut self, name: &str, hugging_face: &str, original: &str, shape: &[u64]) {
        let stored = match self.layout {
            Layout::HuggingFace => hugging_face,
            Layout::Original => original,
        };
        let tensor = Stored { name: stored.to_owned(), shape: shape.to_vec() };
        let source = Source::Rows { tensor, first: 0, step: 1 };
        self.push(name.to_owned(), shape, source, hugging_face.to_owned());
    }

    fn attention(&mut self, config: &Config, layer: usize) {
        let hidden = config.hidden as u64;
        let q = (config.heads * config.head_dim) as u64;
        let kv = (config.kv_heads * config.head_dim) as u64;
        let hf = format!("model.layers.{layer}");
        let original = format!("block.{layer}.attn");
        let gguf = format!("blk.{layer}");

        let mut plain = |name: &str, hugging_face: &str, orig: &str, shape: &[u64]| {
            self.plain(
                &format!("{gguf}.{name}"),
                &format!("{hf}.{hugging_face}"),
                &format!("{original}.{orig}"),
                shape,
            );
        };
        plain("attn_norm.weight", "input_layernorm.weight", "norm.scale", &[hidden]);
        plain("attn_output.weight", "self_attn.o_proj.weight", "out.weight", &[hidden, q]);
        plain("attn_output.bias", "self_attn.o_proj.bias", "out.bias", &[hidden]);
        plain("attn_sinks.weight", "self_attn.sinks", "sinks", &[config.heads as u64]);

        for (letter, first, rows) in [("q", 0, q), ("k", q, kv), ("v", q + kv, kv)] {
            let weight_order = format!("{hf}.self_attn.{letter}_proj.weight");
            let bias_order = format!("{hf}.self_attn.{letter}_proj.bias");
            let (weight, bias) = match self.layout {
                Layout::HuggingFace => {
                    let weight = Stored { name: weight_order.clone(), shape: vec![rows, hidden] };
                    let bias = Stored { name: bias_order.clone(), shape: vec![rows] };
                    (
                        Source::Rows { tensor: weight, first: 0, step: 1 },
                        Source::Columns { tensor: bias, first: 0, step: 1 },
                    )
                }
                Layout::Original => {
                    let all = q + 2 * kv;
                    let name = format!("{original}.qkv.weight");
                    let weight = Stored { name, shape: vec![all, hidden] };
                    let bias = Stored { name: format!("{original}.qkv.bias"), shape: vec![all] };
                    let first = first as usize;
                    (
                        Source::Rows { tensor: weight, first, step: 1 },
                        Source::Columns { tensor: bias, first, step: 1 },
                    )
                }
            };
            let name = format!("{gguf}.attn_{letter}");
            self.push(format!("{name}.weight"), &[rows, hidden], weight, weight_order);
            self.push(format!("{name}.bias"), &[rows], bias, bias_order);
        }
    }

    fn mixture(&mut self, config: &Config, layer: usize) {
        let (hidden, width) = (config.hidden as u64, config.expert_width as u64);
        let experts = config.experts as u64;
        let hf = format!("model.layers.{layer}");
        let original = format!("block.{layer}.mlp");
        let gguf = format!("blk.{layer}");

        let mut plain = |name: &str, hugging_face: &str, orig: &str, shape: &[u64]| {
            self.plain(
                &format!("{gguf}.{name}"),
                &format!("{hf}.{hugging_face}"),
                &format!("{original}.{orig}"),
                shape,
            );
        };
        let norm = "post_attention_norm.weight";
        plain(norm, "post_attention_layernorm.weight", "norm.scale", &[hidden]);
        plain("ffn_gate_inp.weight", "mlp.router.weight", "gate.weight", &[experts, hidden]);
        plain("ffn_gate_inp.bias", "mlp.router.bias", "gate.bias", &[experts]);

        // Name, first row, step, output width and input width of each projection.
        let projections = [
            ("gate", 0, 2, width, hidden),
            ("up", 1, 2, width, hidden),
            ("down", 0, 1, hidden, width),
        ];
        for (which, first, step, rows, columns) in projections {
            let (hf_stem, original_stem) = if which == "down" {
                (format!("{hf}.mlp.experts.down_proj"), format!("{original}.mlp2"))
            } else {
                (format!("{hf}.mlp.experts.gate_up_proj"), format!("{original}.mlp1"))
            };
            let all_rows = rows * step as u64;
            let name = format!("{gguf}.ffn_{which}_exps");

            let (source, order) = self.expert_weights(
                &hf_stem,
                &original_stem,
                [experts, all_rows, columns],
                first,
                step,
            );
            self.push(format!("{name}.weight"), &[experts, rows, columns], source, order);

            let order = format!("{hf_stem}_bias");
            let stored = match self.layout {
                Layout::HuggingFace => order.clone(),
                Layout::Original => format!("{original_stem}_bias"),
            };
            let tensor = Stored { name: stored, shape: vec![experts, all_rows] };
            let source = Source::Columns { tensor, first, step };
            self.push(format!("{name}.bias"), &[experts, rows], source, order);
        }
    }

    /// Where the weights of one projection come from; `stored` is experts, rows, columns.
    fn expert_weights(
        &self,
        hf: &str,
        original: &str,
        [experts, rows, columns]: [u64; 3],
        first: usize,
        step: usize,
    ) -> (Source, String) {
        match self.experts {
            ExpertWeights::Mxfp4 => {
                let (blocks, scales) = match self.layout {
                    Layout::HuggingFace => (format!("{hf}_blocks"), format!("{hf}_scales")),
                    Layout::Original => {
                        (format!("{original}_weight.blocks"), format!("{original}_weight.scales"))
                    }
                };
                let blocks = Stored { name: blocks, shape: vec![experts, rows, columns / 32, 16] };
                let scales = Stored { name: scales, shape: vec![experts, rows, columns / 32] };
                (Source::Mxfp4 { blocks, scales, first, step }, format!("{hf}_scales"))
            }
            ExpertWeights::Plain => {
                let source = match self.layout {
                    Layout::HuggingFace => {
                        let shape = vec![experts, columns, rows];
                        let tensor = Stored { name: hf.to_owned(), shape };
                        Source::Transposed { tensor, first, step }
                    }
                    Layout::Original => {
                        let shape = vec![experts, rows, columns];
                        let tensor = Stored { name: format!("{original}_weight"), shape };
                        Source::Rows { tensor, first, step }
                    }
                };
                (source, hf.to_owned())
            }
        }
    }
}
