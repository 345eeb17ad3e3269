//! Little-endian fields of blocks. Their alignment is 1, so a block can be viewed anywhere in a
//! file, and their bytes are the file's on every machine.

use bytemuck::{Pod, Zeroable};

use crate::simd::rounding::{narrow_bf16, narrow_f16, widen_f16};

/// A half-precision float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct F16Le([u8; 2]);

impl F16Le {
    /// Rounds to nearest, ties to even.
    #[inline(always)]
    pub(super) fn new(x: f32) -> Self {
        Self::from_bits(narrow_f16(x))
    }

    #[inline(always)]
    pub(super) fn from_bits(bits: u16) -> Self {
        Self(bits.to_le_bytes())
    }

    #[inline(always)]
    pub(super) fn bits(self) -> u16 {
        u16::from_le_bytes(self.0)
    }

    #[inline(always)]
    pub(crate) fn get(self) -> f32 {
        widen_f16(u16::from_le_bytes(self.0))
    }

    /// Neither infinite nor NaN.
    #[inline(always)]
    pub(super) fn is_finite(self) -> bool {
        u16::from_le_bytes(self.0) & 0x7c00 != 0x7c00
    }
}

/// A brain float: the upper half of a single-precision float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bf16Le([u8; 2]);

impl Bf16Le {
    /// Rounds to nearest, ties to even; not for NaN.
    #[inline(always)]
    pub(super) fn new(x: f32) -> Self {
        Self(narrow_bf16(x).to_le_bytes())
    }

    #[inline(always)]
    pub(crate) fn get(self) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(self.0)) << 16)
    }
}

/// A single-precision float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct F32Le([u8; 4]);

impl F32Le {
    #[inline(always)]
    pub(super) fn new(x: f32) -> Self {
        Self(x.to_le_bytes())
    }

    #[inline(always)]
    pub(super) fn get(self) -> f32 {
        f32::from_le_bytes(self.0)
    }
}

/// A 16-bit unsigned integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct U16Le([u8; 2]);

impl U16Le {
    #[inline(always)]
    pub(super) fn new(x: u16) -> Self {
        Self(x.to_le_bytes())
    }

    #[inline(always)]
    pub(super) fn get(self) -> u16 {
        u16::from_le_bytes(self.0)
    }
}
