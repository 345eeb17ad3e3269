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
