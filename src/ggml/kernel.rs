//! Dot products of quantized rows with activations, chosen once per matrix.

use super::activation::{Activation, ActivationBlock};
use super::block::Block;
use super::{GgmlType, dispatch};

/// How rows of one type are multiplied with activations.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    activation: Activation,
    dot: fn(&[u8], &[u8]) -> f32,
}

impl Kernel {
    /// The kernel of `ty`.
    pub fn new(ty: GgmlType) -> Self {
        dispatch!(ty, B => Self::of::<B>())
    }

    fn of<B: Block>() -> Self {
        let activation = B::Activation::FORM;
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return Self { activation, dot: |row, act| unsafe { dot_bytes_avx2::<B>(row, act) } };
        }
        Self { activation, dot: dot_bytes::<B> }
    }

    /// The form of activations that [`dot`](Self::dot) takes.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Dot product of one row with one row of activations, for the same number of columns.
    ///
    /// # Panics
    ///
    /// If a slice is no whole number of blocks.
    #[inline]
    pub fn dot(&self, row: &[u8], activations: &[u8]) -> f32 {
        (self.dot)(row, activations)
    }
}

/// The same code, compiled for AVX2: integer sums have no order, float sums keep theirs, so the
/// result is the same to the bit.
///
/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn dot_bytes_avx2<B: Block>(row: &[u8], activations: &[u8]) -> f32 {
    dot_bytes::<B>(row, activations)
}

#[inline(always)]
fn dot_bytes<B: Block>(row: &[u8], activations: &[u8]) -> f32 {
    B::dot(bytemuck::cast_slice(row), bytemuck::cast_slice(activations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::quantize;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        #[cfg(target_arch = "x86_64")]
        println!("AVX2 compared: {}", is_x86_feature_detected!("avx2"));
        let values: Vec<f32> = (0..2048u32)
            .map(|i| ((i + 1).wrapping_mul(2654435761) >> 16) as f32 / 32768.0 - 1.0)
            .collect();
        let (weights, activations) = values.split_at(1024);
        for &ty in GgmlType::ALL {
            let kernel = Kernel::new(ty);
            let mut row = vec![0; 1024 / ty.block_size() * ty.block_bytes()];
            quantize(ty, weights, 1024, Some(&[1.0; 1024]), &mut row).unwrap();
            let mut quantized = vec![0; kernel.activation().row_bytes(1024)];
            kernel.activation().quantize(activations, &mut quantized);
            let portable = dispatch!(ty, B => dot_bytes::<B>(&row, &quantized));
            assert_eq!(kernel.dot(&row, &quantized).to_bits(), portable.to_bits(), "{ty}");
        }
    }
}
