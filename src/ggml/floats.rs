//! `f32`, `f16` and `bf16`: floats of three precisions.

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::le::{Bf16Le, F32Le};

assert_layout!(F32Le);

impl Block for F32Le {
    const TYPE: GgmlType = GgmlType::F32;
    const LARGEST: f32 = f32::MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: Row<'_>, blocks: &mut [Self]) {
        for (block, &x) in blocks.iter_mut().zip(row.x) {
            *block = F32Le::new(x);
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.get();
    }

    fn is_finite(&self) -> bool {
        self.get().is_finite()
    }
}

assert_layout!(F16Le);

impl Block for F16Le {
    const TYPE: GgmlType = GgmlType::F16;
    const LARGEST: f32 = F16_MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        search.narrow_all(row.x, blocks);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.get();
    }

    fn is_finite(&self) -> bool {
        F16Le::is_finite(*self)
    }
}

assert_layout!(Bf16Le);

impl Block for Bf16Le {
    const TYPE: GgmlType = GgmlType::BF16;
    /// The largest float that rounds to a finite one.
    const LARGEST: f32 = f32::from_bits(0x7f7f_7fff);
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: Row<'_>, blocks: &mut [Self]) {
        for (block, &x) in blocks.iter_mut().zip(row.x) {
            *block = Bf16Le::new(x);
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.get();
    }

    fn is_finite(&self) -> bool {
        self.get().is_finite()
    }
}
