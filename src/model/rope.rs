//! Rotary positions, also with YaRN's context extension, or a linear one.
//!
//! Source: `_compute_yarn_parameters` of transformers with `truncate: false`, and
//! `RotaryEmbedding` of openai/gpt-oss. llama.cpp rounds the ramp's ends to whole dimensions,
//! which the published model does not. What published models do not have (a base of its own for
//! sliding layers, a factor on cosines and sines, no YaRN) is llama.cpp's (`src/llama-context.cpp`).

use std::f64::consts::TAU;
use std::ops::Range;

use crate::compute::ThreadPool;

use crate::arch::{Pairing, Rope, RopeScaling};

/// Elements worth handing to a thread.
const TASK_ELEMENTS: usize = 16384;

/// Angles per position, and the concentration that cosines and sines are multiplied by.
pub struct Angles {
    /// Radians per position, for each pair of elements.
    frequencies: Vec<f64>,
    concentration: f64,
}

impl Angles {
    /// Those of heads of `head_dim` elements.
    pub fn new(rope: &Rope, head_dim: usize) -> Self {
        let (theta, factor) = (f64::from(rope.base), f64::from(rope.factor));
        let attention = f64::from(rope.attention_factor);
        let pairs = head_dim / 2;
        if rope.scaling != RopeScaling::Yarn {
            let frequency = |i| theta.powf(-(i as f64) / pairs as f64) / factor;
            let frequencies = (0..pairs).map(frequency).collect();
            return Self { frequencies, concentration: attention };
        }
        // Where a full turn over the original context takes as many tokens as `turns` says.
        let dimension = |turns: f32| {
            let length = rope.original_context as f64 / (f64::from(turns) * TAU);
            pairs as f64 * length.ln() / theta.ln()
        };
        let low = dimension(rope.beta_fast).max(0.0);
        let mut high = dimension(rope.beta_slow).min(head_dim as f64 - 1.0);
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
        Self { frequencies, concentration: concentration * attention }
    }

    /// For each position a row of a head's size: cosines, then sines, of all pairs.
    pub fn at(&self, positions: Range<usize>, out: &mut Vec<f32>) {
        let pairs = self.frequencies.len();
        out.resize(positions.len() * 2 * pairs, 0.0);
        for (position, row) in positions.zip(out.chunks_exact_mut(2 * pairs)) {
            let (cosines, sines) = row.split_at_mut(pairs);
            for ((f, cos), sin) in self.frequencies.iter().zip(cosines).zip(sines) {
                let angle = position as f64 * f;
                *cos = (angle.cos() * self.concentration) as f32;
                *sin = (angle.sin() * self.concentration) as f32;
            }
        }
    }
}

/// Rotates the heads of consecutive tokens by their rows of `angles`; `rows` has `width` elements
/// per token.
pub fn rotate_rows(
    pool: &ThreadPool,
    rows: &mut [f32],
    width: usize,
    angles: &[f32],
    pairing: Pairing,
) {
    let size = angles.len() / (rows.len() / width).max(1);
    pool.for_rows(rows, width, TASK_ELEMENTS / width + 1, |token, row| {
        let angles = &angles[token * size..(token + 1) * size];
        match pairing {
            Pairing::Halves => rotate_halves(row, angles),
            Pairing::Neighbours => rotate_neighbours(row, angles),
        }
    });
}

/// Rotates every head in `heads`: element `i` with element `i + head_dim / 2`.
fn rotate_halves(heads: &mut [f32], angles: &[f32]) {
    let (cos, sin) = angles.split_at(angles.len() / 2);
    for head in heads.chunks_exact_mut(angles.len()) {
        let (first, second) = head.split_at_mut(cos.len());
        for (((a, b), &c), &s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

/// Rotates every head in `heads`: element `2i` with element `2i + 1`.
fn rotate_neighbours(heads: &mut [f32], angles: &[f32]) {
    let (cos, sin) = angles.split_at(angles.len() / 2);
    for head in heads.chunks_exact_mut(angles.len()) {
        for (([a, b], &c), &s) in head.as_chunks_mut().0.iter_mut().zip(cos).zip(sin) {
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(factor: f32) -> Rope {
        Rope {
            pairing: Pairing::Halves,
            base: 150000.0,
            scaling: RopeScaling::Yarn,
            factor,
            attention_factor: 1.0,
            original_context: 4096,
            beta_fast: 32.0,
            beta_slow: 1.0,
        }
    }

    fn stretched(factor: f32) -> Angles {
        Angles::new(&rope(factor), 64)
    }

    #[test]
    fn without_yarn_all_pairs_are_stretched_alike() {
        let (scaling, base) = (RopeScaling::Linear, 10000.0);
        let rope = Rope { scaling, base, attention_factor: 2.0, ..rope(4.0) };
        let rope = Angles::new(&rope, 64);
        for (i, f) in rope.frequencies.iter().enumerate() {
            let expected = 10000f64.powf(-(i as f64) / 32.0) / 4.0;
            assert!((f / expected - 1.0).abs() < 1e-12);
        }
        assert_eq!(rope.concentration, 2.0);
    }

    #[test]
    fn a_factor_multiplies_the_concentration() {
        let twice = Rope { attention_factor: 2.0, ..rope(32.0) };
        let concentration = Angles::new(&twice, 64).concentration;
        assert_eq!(concentration, 2.0 * stretched(32.0).concentration);
    }

    /// The ramp goes from pair 8.09 (32 turns in 4096 tokens) to pair 17.40 (one turn).
    #[test]
    fn fast_pairs_keep_their_pace_and_slow_ones_are_stretched() {
        let rope = stretched(32.0);
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

    fn angles(rope: &Angles, position: usize) -> Vec<f32> {
        let mut angles = Vec::new();
        rope.at(position..position + 1, &mut angles);
        angles
    }

    #[test]
    fn every_token_is_rotated_by_its_position() {
        let rope = stretched(32.0);
        let rows: Vec<f32> = (0..3 * 128).map(|i| (i % 17) as f32).collect();
        let mut expected = rows.clone();
        for (token, row) in expected.chunks_exact_mut(128).enumerate() {
            rotate_halves(row, &angles(&rope, 7 + token));
        }
        for threads in [1, 2] {
            let mut rotated = rows.clone();
            let mut all = vec![9.0; 7];
            rope.at(7..10, &mut all);
            rotate_rows(
                &ThreadPool::new(threads).unwrap(),
                &mut rotated,
                128,
                &all,
                Pairing::Halves,
            );
            assert_eq!(rotated, expected);
        }
    }

    #[test]
    fn rotation_pairs_halves_and_scales_by_the_concentration() {
        let rope = stretched(32.0);
        let mut head: Vec<f32> = (0..64).map(|i| i as f32).collect();
        rotate_halves(&mut head, &angles(&rope, 0));
        let concentration = (0.1 * 32f64.ln() + 1.0) as f32;
        for (i, h) in head.iter().enumerate() {
            assert_eq!(*h, i as f32 * concentration);
        }
        let mut head = vec![0.0; 128];
        (head[64], head[65]) = (1.0, 1.0);
        rotate_halves(&mut head, &angles(&stretched(1.0), 3));
        assert!((head[64] - 3f32.cos()).abs() < 1e-6 && (head[96] - 3f32.sin()).abs() < 1e-6);
        let slower = 3.0 * 150000f32.powf(-1.0 / 32.0);
        assert!((head[65] - slower.cos()).abs() < 1e-6 && (head[97] - slower.sin()).abs() < 1e-6);
        assert_eq!(head[..64], [0.0; 64]);
    }

    #[test]
    fn neighbours_turn_as_halves_do() {
        let angles = angles(&stretched(32.0), 5);
        let head: Vec<f32> = (0..64).map(|i| (i * 7 % 13) as f32).collect();
        let apart = |i: usize| if i < 32 { 2 * i } else { 2 * (i - 32) + 1 };
        let mut halves: Vec<f32> = (0..64).map(|i| head[apart(i)]).collect();
        rotate_halves(&mut halves, &angles);
        let mut neighbours = head;
        rotate_neighbours(&mut neighbours, &angles);
        for (i, half) in halves.iter().enumerate() {
            assert_eq!(*half, neighbours[apart(i)]);
        }
    }
}
