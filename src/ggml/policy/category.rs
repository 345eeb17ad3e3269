//! What a tensor is, told from its name.

use super::Tensor;

/// The architecture that has the most tensors which are not quantized, or not as others are.
pub(super) const GLM5: &str = "glm5-next";

/// The token embedding that some models have for each layer beside the one at their front.
pub(super) const PER_LAYER_EMBEDDING: &str = "per_layer_token_embd.weight";

/// What a tensor is to the mixes; llama.cpp's `tensor_category`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    TokenEmbedding,
    AttentionQ,
    AttentionK,
    AttentionV,
    /// Query, key and value in one.
    AttentionQkv,
    /// Key and value from a shared latent.
    AttentionKvB,
    AttentionOutput,
    FfnUp,
    FfnGate,
    FfnDown,
    Output,
    Other,
}

impl Category {
    pub(super) fn of(name: &str) -> Self {
        const PARTS: [(&str, Category); 9] = [
            ("attn_qkv.weight", Category::AttentionQkv),
            ("attn_kv_b.weight", Category::AttentionKvB),
            ("attn_v.weight", Category::AttentionV),
            ("attn_k.weight", Category::AttentionK),
            ("attn_q.weight", Category::AttentionQ),
            ("attn_output.weight", Category::AttentionOutput),
            ("ffn_up", Category::FfnUp),
            ("ffn_gate", Category::FfnGate),
            ("ffn_down", Category::FfnDown),
        ];
        match name {
            "output.weight" => Category::Output,
            "token_embd.weight" | PER_LAYER_EMBEDDING => Category::TokenEmbedding,
            _ => PARTS
                .iter()
                .find(|(part, _)| name.contains(part))
                .map_or(Category::Other, |(_, r)| *r),
        }
    }

    /// Whether mixes treat it as the values of an attention, which suffer most from few bits.
    pub(super) fn is_attention_v(self) -> bool {
        matches!(self, Category::AttentionV | Category::AttentionQkv | Category::AttentionKvB)
    }

    /// Whether it is a projection of a feed-forward network, of experts or not.
    pub(super) fn is_ffn(self) -> bool {
        matches!(self, Category::FfnUp | Category::FfnGate | Category::FfnDown)
    }
}

/// Why this tensor of a model of `architecture` is never quantized, in words; `None` where it may be.
pub(super) fn never_quantized(architecture: &str, tensor: &Tensor) -> Option<&'static str> {
    /// Parts of names and what they stand for, in the reference's order.
    const NEVER: [(&str, &str); 37] = [
        ("_norm.weight", "a norm"),
        ("ffn_gate_inp.weight", "the router"),
        ("ffn_gate_tid2eid.weight", "a routing table"),
        ("altup", "a very small projection"),
        ("laurel", "a very small projection"),
        ("per_layer_model_proj", "a small projection"),
        ("ssm_conv1d", "a small convolution"),
        ("shortconv.conv.weight", "a small convolution"),
        ("indexer.k_proj.weight", "a small indexer"),
        ("indexer.q_proj.weight", "a small indexer"),
        ("time_mix_first.weight", "a small time mix"),
        ("time_mix_w0.weight", "a small time mix"),
        ("time_mix_w1.weight", "a small time mix"),
        ("time_mix_w2.weight", "a small time mix"),
        ("time_mix_v0.weight", "a small time mix"),
        ("time_mix_v1.weight", "a small time mix"),
        ("time_mix_v2.weight", "a small time mix"),
        ("time_mix_a0.weight", "a small time mix"),
        ("time_mix_a1.weight", "a small time mix"),
        ("time_mix_a2.weight", "a small time mix"),
        ("time_mix_g1.weight", "a small time mix"),
        ("time_mix_g2.weight", "a small time mix"),
        ("time_mix_decay_w1.weight", "a small time mix"),
        ("time_mix_decay_w2.weight", "a small time mix"),
        ("time_mix_lerp_fused.weight", "a small time mix"),
        ("attn_rel_b.weight", "a relative position bias"),
        (".position_embd", "a position embedding"),
        ("sam.pos_embd", "a position embedding"),
        ("sam.neck.", "part of an image encoder"),
        ("sam.net_", "part of an image encoder"),
        (".rel_pos", "a relative position"),
        (".patch_embd", "a patch embedding"),
        (".patch_merger", "a patch merger"),
        ("a.rvq.codebook", "an audio codebook"),
        ("mm.a.code_embd", "an audio codebook"),
        ("position_embd.weight", "a position embedding"),
        ("token_types.weight", "a token type embedding"),
    ];
    /// The same, of [`GLM5`] alone.
    const NEVER_IN_GLM5: [&str; 14] = [
        "hc_",
        "indexer.attn_q_b",
        "indexer.attn_k",
        "indexer.proj",
        "indexer_compressor_gate",
        "indexer_compressor_ape",
        "ssm_f_a.weight",
        "ssm_f_b.weight",
        "ssm_g_a.weight",
        "ssm_g_b.weight",
        "ssm_beta.weight",
        "attn_kv_a_mqa.weight",
        "attn_k_b.weight",
        "attn_v_b.weight",
    ];
    let Tensor { name, shape, .. } = *tensor;
    if shape.contains(&0) {
        return Some("no weights in it");
    }
    if let Some((_, what)) = NEVER.iter().find(|(part, _)| name.contains(part)) {
        return Some(what);
    }
    if architecture == GLM5 && NEVER_IN_GLM5.iter().any(|part| name.contains(part)) {
        return Some("a tensor that GLM-5 keeps");
    }
    if name.ends_with(".bias") {
        return Some("a bias");
    }
    // Trailing dimensions of one do not count.
    if shape.iter().skip(1).all(|&n| n == 1) {
        return Some("one dimension");
    }
    if name.ends_with("weight") { None } else { Some("no weight") }
}
