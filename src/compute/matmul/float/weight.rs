//! Floats as files have them.

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

use super::vector::Vector;

/// A weight that is a float of some precision.
pub trait Weight: Copy {
    fn get(self) -> f32;
    /// As many as a vector has lanes, widened.
    fn load<const N: usize, V: Vector<N>>(from: &[Self; N]) -> V;
}

impl Weight for f32 {
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load<const N: usize, V: Vector<N>>(from: &[Self; N]) -> V {
        V::load(from)
    }
}

/// A half-precision float, little-endian.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(transparent)]
pub struct Half([u8; 2]);

impl Weight for Half {
    #[inline(always)]
    fn get(self) -> f32 {
        f16::from_le_bytes(self.0).to_f32()
    }

    #[inline(always)]
    fn load<const N: usize, V: Vector<N>>(from: &[Self; N]) -> V {
        V::halves(from)
    }
}

/// A brain float, little-endian.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(transparent)]
pub struct Brain([u8; 2]);

impl Weight for Brain {
    #[inline(always)]
    fn get(self) -> f32 {
        bf16::from_le_bytes(self.0).to_f32()
    }

    #[inline(always)]
    fn load<const N: usize, V: Vector<N>>(from: &[Self; N]) -> V {
        V::brains(from)
    }
}
