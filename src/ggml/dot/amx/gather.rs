//! The activations of several tokens, group by group, as AMX reads them.

use super::tiles::ROWS;
use crate::ggml::dot::{Inputs, Run};

/// The activations of a group, of a tile of tokens.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Group {
    pub levels: [[i8; 32]; ROWS],
    pub scales: [f32; ROWS],
    /// Sums of 16 levels each.
    pub sums: [[i16; 2]; ROWS],
}

/// Puts the activations of a group side by side, run by run, so that what is read and written stays in
/// the first-level cache until it is whole.
#[inline(always)]
pub fn gather<const OFFSET: bool>(
    inputs: Inputs<'_>,
    tokens: usize,
    runs: usize,
    to: &mut [Group],
) {
    let blocks = inputs.numbers.len() / tokens;
    for (i, numbers) in inputs.numbers.chunks_exact(tokens).enumerate() {
        for r in 0..runs {
            let mut of_tokens = [&Run::ZERO; ROWS];
            for (run, &number) in of_tokens.iter_mut().zip(numbers) {
                *run = &inputs.runs[number as usize * inputs.stride + r];
            }
            for (g, groups) in to.chunks_exact_mut(runs * blocks).enumerate().take(8) {
                let Group { levels, scales, sums } = &mut groups[r * blocks + i];
                for (t, run) in of_tokens[..tokens].iter().enumerate() {
                    levels[t] = run.levels[g];
                    scales[t] = run.scales[g];
                    if OFFSET {
                        sums[t] = [run.sums[2 * g], run.sums[2 * g + 1]];
                    }
                }
            }
        }
    }
}
