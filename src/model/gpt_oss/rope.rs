//! Rotary positions with YaRN's context extension.
//!
//! Source: `_compute_yarn_parameters` of transformers with `truncate: false`, and
//! `RotaryEmbedding` of openai/gpt-oss. llama.cpp rounds the ramp's ends to whole dimensions,
//! which the published model does not.

use std::f64::consts::TAU;

use super::Config;

/// Angles per position, and the concentration that cosines and sines are multiplied by.
pub struct Rope {
    /// Radians per position, for each pair of elements.
    frequencies: Vec<f64>,
    concentration: f64,
}

impl Rope {
    pub fn new(config: &Config) -> Self {
        let pairs = config.head_dim / 2;
        let (theta, factor) = (f64::from(config.rope_theta), f64::from(config.rope_factor));
        // Where a full turn over the original context takes as many tokens as `turns` says.
        let dimension = |turns: f32| {
            let length = config.rope_original_context as f64 / (f64::from(turns) * TAU);
            pairs as f64 * length.ln() / theta.ln()
        };
        let low = dimension(config.rope_beta_fast).max(0.0);
        let mut high = dimension(config.rope_beta_slow).min(config.head_dim as f64 - 1.0);
        if low == high {
            high += 0.001;
        }
        let frequencies = (0..pairs)
            .map(|i| {
                let extrapolated = theta.powf(-(i as f64) / pairs as f64);
                let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                extrapolated / factor * ramp + extrapolated * (1.0 - ramp)
            })
            .collect();
        let concentration = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
        Self { frequencies, concentration }
    }

    /// Cosines, then sines, of all pairs at `position`.
    pub fn angles(&self, position: usize) -> Vec<f32> {
        let angle = |f: &f64| position as f64 * f;
        let cos = self.frequencies.iter().map(|f| (angle(f).cos() * self.concentration) as f32);
        let sin = self.frequencies.iter().map(|f| (angle(f).sin() * self.concentration) as f32);
        cos.chain(sin).collect()
    }
}

/// Rotates every head in `heads`: element `i` with element `i + head_dim / 2`.
pub fn rotate(heads: &mut [f32], angles: &[f32]) {
    let (cos, sin) = angles.split_at(angles.len() / 2);
    for head in heads.chunks_exact_mut(angles.len()) {
        let (first, second) = head.split_at_mut(cos.len());
        for (((a, b), &c), &s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rope_factor: f32) -> Config {
        Config {
            layers: 1,
            hidden: 64,
            heads: 1,
            kv_heads: 1,
            head_dim: 64,
            experts: 1,
            experts_used: 1,
            expert_width: 64,
            vocab: 1,
            context: 131072,
            rms_eps: 1e-5,
            rope_theta: 150000.0,
            rope_factor,
            rope_original_context: 4096,
            rope_beta_fast: 32.0,
            rope_beta_slow: 1.0,
            sliding_window: 128,
            swiglu_limit: 7.0,
        }
    }

    /// The ramp goes from pair 8.09 (32 turns in 4096 tokens) to pair 17.40 (one turn).
    #[test]
    fn fast_pairs_keep_their_pace_and_slow_ones_are_stretched() {
        let rope = Rope::new(&config(32.0));
        let plain = |i: usize| 150000f64.powf(-(i as f64) / 32.0);
        for i in 0..=8 {
            assert_eq!(rope.frequencies[i], plain(i));
        }
        for i in 18..32 {
            assert!((rope.frequencies[i] * 32.0 / plain(i) - 1.0).abs() < 1e-12);
        }
        let low = 32.0 * (4096.0 / (32.0 * TAU)).ln() / 150000f64.ln();
        let high = 32.0 * (4096.0 / TAU).ln() / 150000f64.ln();
        assert!((low - 8.09).abs() < 0.01 && (high - 17.40).abs() < 0.01, "{low} {high}");
        let ramp = (12.0 - low) / (high - low);
        let expected = plain(12) * (1.0 - ramp) + plain(12) / 32.0 * ramp;
        assert!((rope.frequencies[12] / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn rotation_pairs_halves_and_scales_by_the_concentration() {
        let rope = Rope::new(&config(32.0));
        let mut head: Vec<f32> = (0..64).map(|i| i as f32).collect();
        rotate(&mut head, &rope.angles(0));
        let concentration = (0.1 * 32f64.ln() + 1.0) as f32;
        for (i, h) in head.iter().enumerate() {
            assert_eq!(*h, i as f32 * concentration);
        }
        let mut head = vec![0.0; 128];
        (head[64], head[65]) = (1.0, 1.0);
        rotate(&mut head, &Rope::new(&config(1.0)).angles(3));
        assert!((head[64] - 3f32.cos()).abs() < 1e-6 && (head[96] - 3f32.sin()).abs() < 1e-6);
        let slower = 3.0 * 150000f32.powf(-1.0 / 32.0);
        assert!((head[65] - slower.cos()).abs() < 1e-6 && (head[97] - slower.sin()).abs() < 1e-6);
        assert_eq!(head[..64], [0.0; 64]);
    }
}
