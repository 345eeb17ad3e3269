//! Dot products of quantized rows with activations, chosen once per matrix.

use super::activation::{Activation, ActivationBlock};
use super::block::Block;
use super::{GgmlType, UnsupportedType, dispatch};

/// How rows of one type are multiplied with activations.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    activation: Activation,
    dot: fn(&[u8], &[u8]) -> f32,
}

impl Kernel {
    /// The kernel of `ty`.
    pub fn new(ty: GgmlType) -> Result<Self, UnsupportedType> {
        dispatch!(ty, B => Self::of::<B>()).ok_or(UnsupportedType(ty))
    }

    fn of<B: Block>() -> Self {
        Self { activation: B::Activation::FORM, dot: dot_bytes::<B> }
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

fn dot_bytes<B: Block>(row: &[u8], activations: &[u8]) -> f32 {
    B::dot(bytemuck::cast_slice(row), bytemuck::cast_slice(activations))
}
