//! The mixes themselves: type by category, layer and shape. Follows `llama_tensor_get_type_impl` of
//! llama.cpp.

use super::category::{Category, GLM5};
use super::{Model, PolicyError, Tensor, layer};
use crate::ggml::{GgmlType, Mix};

/// Chooses for one tensor after the other, in the order of layers.
pub(super) struct Chooser<'a> {
    mix: Mix,
    has_importance: bool,
    model: Model<'a>,
    /// Tensors with the category of an attention's values, in all.
    attention_v: usize,
    /// How many of them have been seen.
    seen_attention_v: usize,
    /// Tensors of each of the three FFN categories that have been seen, for models without experts.
    seen_ffn: [usize; 3],
    /// The token embedding is also the output projection.
    tied: bool,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(
        mix: Mix,
        has_importance: bool,
        model: &Model<'a>,
        tensors: &[Tensor],
    ) -> Self {
        let categories = || tensors.iter().map(|t| Category::of(t.name));
        Self {
            mix,
            has_importance,
            model: *model,
            attention_v: categories().filter(|r| r.is_attention_v()).count(),
            seen_attention_v: 0,
            seen_ffn: [0; 3],
            tied: !categories().any(|r| r == Category::Output),
        }
    }

    pub(super) fn architecture(&self) -> &'a str {
        self.model.architecture
    }

    fn is_falcon(&self) -> bool {
        self.model.architecture == "falcon"
    }

    /// Whether a tensor of this category is the output projection.
    pub(super) fn is_output(&self, category: Category) -> bool {
        category == Category::Output || self.tied && category == Category::TokenEmbedding
    }

    pub(super) fn choose(&mut self, tensor: &Tensor) -> Result<GgmlType, PolicyError> {
        use GgmlType as T;
        use Mix as M;
        let mix = self.mix;
        let base = mix.base();
        if matches!(base, T::F32 | T::F16 | T::BF16) {
            return Ok(base);
        }
        let eight_bits = ["attn_q_a", "attn_q_b", "nextn.eh_proj"];
        if self.model.architecture == GLM5 && eight_bits.iter().any(|p| tensor.name.contains(p)) {
            return Ok(T::Q8_0);
        }
        let category = Category::of(tensor.name);
        if self.is_output(category) {
            return Ok(self.output(tensor));
        }
        Ok(match mix {
            M::MXFP4_MOE => {
                let is_3d = tensor.shape.get(2).is_some_and(|&n| n > 1);
                // Its attention has tensors of three dimensions that are no experts.
                let may_be_expert = self.model.architecture != "bailingmoe3" || category.is_ffn();
                if is_3d && may_be_expert { T::MXFP4 } else { T::Q8_0 }
            }
            _ if category == Category::TokenEmbedding => self.token_embedding(),
            M::IQ2_XXS | M::IQ2_XS | M::IQ1_S | M::IQ2_S | M::IQ2_M | M::IQ1_M => {
                self.very_low_bits(category)
            }
            _ => match category {
                Category::AttentionV | Category::AttentionQkv | Category::AttentionKvB => {
                    self.attention_v()
                }
                Category::AttentionK if self.model.experts == 8 => T::Q8_0,
                Category::AttentionK | Category::AttentionQ => match mix {
                    M::IQ3_XS => T::IQ3_XXS,
                    M::IQ3_XXS => T::IQ2_S,
                    _ => base,
                },
                Category::AttentionOutput => self.attention_output(),
                Category::FfnDown => {
                    let layer = self.ffn_layer(tensor.name, 0)?;
                    self.ffn_down(layer)
                }
                Category::FfnGate | Category::FfnUp => {
                    let layer =
                        self.ffn_layer(tensor.name, 1 + usize::from(category == Category::FfnUp))?;
                    let layers = self.model.layers;
                    let middle = layer >= layers / 8 && layer < 7 * layers / 8;
                    if mix == M::IQ3_XS && middle { T::IQ3_XXS } else { base }
                }
                Category::TokenEmbedding | Category::Output | Category::Other => base,
            },
        })
    }

    /// The layer of an FFN tensor. Models without experts count instead of reading the name.
    fn ffn_layer(&mut self, name: &str, part: usize) -> Result<usize, PolicyError> {
        let count = self.seen_ffn[part];
        self.seen_ffn[part] += 1;
        if self.model.experts <= 1 {
            return Ok(count);
        }
        let layers = self.model.layers;
        layer(name)
            .filter(|&n| n < layers)
            .ok_or_else(|| PolicyError::BadLayer { tensor: name.to_owned(), layers })
    }

    fn output(&self, tensor: &Tensor) -> GgmlType {
        use GgmlType as T;
        use Mix as M;
        let base = self.mix.base();
        match self.mix {
            M::MXFP4_MOE => T::Q8_0,
            _ if self.is_falcon() => T::Q8_0,
            _ if !tensor.shape[0].is_multiple_of(base.block_size() as u64) => T::Q8_0,
            M::IQ2_XXS | M::IQ2_XS | M::IQ3_XXS | M::IQ1_S | M::IQ2_S | M::IQ2_M | M::IQ1_M => {
                T::Q5_K
            }
            _ if base == T::Q8_0 => base,
            _ => T::Q6_K,
        }
    }

    fn token_embedding(&self) -> GgmlType {
        use Mix as M;
        match self.mix {
            M::IQ2_XXS | M::IQ2_XS | M::IQ1_S | M::IQ1_M => GgmlType::Q2_K,
            M::IQ2_S | M::IQ2_M | M::IQ3_XXS => GgmlType::IQ3_S,
            M::TQ1_0 | M::TQ2_0 => GgmlType::Q4_K,
            _ => self.mix.base(),
        }
    }

    /// The mixes of one and two bits.
    fn very_low_bits(&mut self, category: Category) -> GgmlType {
        use GgmlType as T;
        let small = matches!(self.mix, Mix::IQ2_S | Mix::IQ2_M);
        let eight_experts = self.model.experts == 8;
        let raised = if small { T::IQ3_S } else { T::Q2_K };
        match category {
            _ if category.is_attention_v() => {
                let shared = self.model.heads_per_kv_head() >= 4 || self.model.experts >= 4;
                if shared { T::Q4_K } else { raised }
            }
            Category::AttentionK if eight_experts => T::Q4_K,
            Category::FfnDown => {
                // Here the reference counts tensors even where a model has experts.
                let layer = self.seen_ffn[0];
                self.seen_ffn[0] += 1;
                if layer < self.model.layers / 8 { raised } else { self.mix.base() }
            }
            Category::AttentionOutput if eight_experts => T::Q5_K,
            Category::AttentionOutput if small => T::IQ3_S,
            Category::AttentionOutput if matches!(self.mix, Mix::IQ1_S | Mix::IQ1_M) => T::IQ2_XXS,
            _ => self.mix.base(),
        }
    }

    fn attention_v(&mut self) -> GgmlType {
        use GgmlType as T;
        use Mix as M;
        let index = self.seen_attention_v;
        self.seen_attention_v += 1;
        if self.model.experts == 8 {
            return T::Q8_0;
        }
        let shared = self.model.heads_per_kv_head() >= 4;
        let chosen = match self.mix {
            M::Q2_K if shared => T::Q4_K,
            M::Q2_K => T::Q3_K,
            M::Q2_K_S | M::IQ3_XXS | M::IQ3_XS | M::IQ3_S if shared => T::Q4_K,
            M::IQ3_XXS if !self.has_importance => T::IQ3_S,
            M::IQ3_M => T::Q4_K,
            M::Q3_K_M if index < 2 => T::Q5_K,
            M::Q3_K_M => T::Q4_K,
            M::Q3_K_L => T::Q5_K,
            M::IQ4_NL | M::IQ4_XS if shared => T::Q5_K,
            M::Q4_K_M | M::Q5_K_M if use_more_bits(index, self.attention_v) => T::Q6_K,
            M::Q4_K_S if index < 4 => T::Q5_K,
            _ => self.mix.base(),
        };
        match chosen {
            T::Q3_K | T::Q4_K if self.model.is_70b() => T::Q5_K,
            other => other,
        }
    }

    fn attention_output(&self) -> GgmlType {
        use GgmlType as T;
        use Mix as M;
        let base = self.mix.base();
        if self.is_falcon() {
            return if self.mix == M::Q3_K_L { T::Q4_K } else { base };
        }
        if self.model.experts == 8 {
            return match self.mix {
                M::Q2_K | M::IQ3_XS | M::IQ3_XXS | M::Q3_K_S | M::Q3_K_M | M::IQ4_NL => T::Q5_K,
                M::Q4_K_S | M::Q4_K_M | M::IQ3_S | M::IQ3_M | M::IQ4_XS => T::Q5_K,
                _ => base,
            };
        }
        match self.mix {
            M::Q2_K => T::Q3_K,
            M::IQ3_XXS => T::IQ3_S,
            M::Q3_K_M | M::IQ3_M => T::Q4_K,
            M::Q3_K_L => T::Q5_K,
            _ => base,
        }
    }

    fn ffn_down(&self, layer: usize) -> GgmlType {
        use GgmlType as T;
        use Mix as M;
        let layers = self.model.layers;
        let early = layer < layers / 8;
        let more_bits = use_more_bits(layer, layers);
        match self.mix {
            M::Q2_K => T::Q3_K,
            M::Q2_K_S if early => T::Q4_K,
            M::IQ3_XXS if !self.has_importance => {
                if early {
                    T::Q4_K
                } else {
                    T::Q3_K
                }
            }
            M::Q3_K_M if layer < layers / 16 => T::Q5_K,
            M::Q3_K_M if self.is_falcon() && !more_bits => T::Q3_K,
            M::Q3_K_M => T::Q4_K,
            M::IQ3_M if early || self.model.experts == 8 && more_bits => T::Q4_K,
            M::Q3_K_L if self.is_falcon() => T::Q4_K,
            M::Q3_K_L => T::Q5_K,
            M::Q4_K_M if self.is_falcon() && layer >= layers / 16 => {
                if more_bits {
                    T::Q5_K
                } else {
                    T::Q4_K
                }
            }
            M::Q4_K_M if self.is_falcon() => T::Q6_K,
            M::Q4_K_M | M::Q5_K_M if more_bits => T::Q6_K,
            M::IQ4_NL | M::IQ4_XS if early && !self.has_importance => T::Q5_K,
            M::Q4_K_S if early && !self.is_falcon() => T::Q5_K,
            M::Q4_0 if early && self.has_importance => T::Q4_1,
            M::Q5_0 if early && self.has_importance => T::Q5_1,
            _ => self.mix.base(),
        }
    }
}

/// The first and the last eighth of the layers and every third in between.
fn use_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}
