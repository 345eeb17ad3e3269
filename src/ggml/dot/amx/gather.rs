//! The activations of several tokens, group by group, as AMX reads them.

use super::tiles::ROWS;
use crate::ggml::dot::{ActivationBlock, Inputs};

/// The activations of a tile of tokens in one group of columns.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct TokenTile {
    pub levels: [[i8; 32]; ROWS],
    pub scales: [f32; ROWS],
    /// Sums of 16 levels each.
    pub sums: [[i16; 2]; ROWS],
}

/// Puts the activations of a group side by side, span by span, so that what is read and written stays
/// in the first-level cache until it is whole.
#[inline(always)]
pub fn gather<const OFFSET: bool>(
    inputs: Inputs<'_>,
    tokens: usize,
    spans: usize,
    to: &mut [TokenTile],
) {
    let tiles = inputs.numbers.len() / tokens;
    for (i, numbers) in inputs.numbers.chunks_exact(tokens).enumerate() {
        for r in 0..spans {
            let mut of_tokens = [&ActivationBlock::ZERO; ROWS];
            for (block, &number) in of_tokens.iter_mut().zip(numbers) {
                *block = &inputs.blocks[number as usize * inputs.stride + r];
            }
            for (g, of_group) in to.chunks_exact_mut(spans * tiles).enumerate().take(8) {
                let TokenTile { levels, scales, sums } = &mut of_group[r * tiles + i];
                for (t, block) in of_tokens[..tokens].iter().enumerate() {
                    levels[t] = block.levels[g];
                    scales[t] = block.scales[g];
                    if OFFSET {
                        sums[t] = [block.sums[2 * g], block.sums[2 * g + 1]];
                    }
                }
            }
        }
    }
}
