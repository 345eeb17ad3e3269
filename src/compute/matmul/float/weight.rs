//! Floats as files have them.

use crate::ggml::{Bf16Le, F16Le};
use crate::simd::Simd;

/// A weight that is a float of some precision.
pub trait Weight: Copy {
    fn get(self) -> f32;
    /// As many as a vector has lanes, widened.
    fn load<S: Simd>(set: S, from: &[Self]) -> S::F32;
}

impl Weight for f32 {
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load<S: Simd>(set: S, from: &[Self]) -> S::F32 {
        set.load(from)
    }
}

impl Weight for F16Le {
    #[inline(always)]
    fn get(self) -> f32 {
        F16Le::get(self)
    }

    #[inline(always)]
    fn load<S: Simd>(set: S, from: &[Self]) -> S::F32 {
        set.load_f16(bytemuck::cast_slice(from))
    }
}

impl Weight for Bf16Le {
    #[inline(always)]
    fn get(self) -> f32 {
        Bf16Le::get(self)
    }

    #[inline(always)]
    fn load<S: Simd>(set: S, from: &[Self]) -> S::F32 {
        set.load_bf16(bytemuck::cast_slice(from))
    }
}
