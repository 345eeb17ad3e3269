//! `f16`: half-precision floats.

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::le::F16Le;
use super::search::Search;

assert_layout!(F16Le);

impl Block for F16Le {
    const TYPE: GgmlType = GgmlType::F16;
    const LARGEST: f32 = F16_MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: &[f32], _: Option<&[f32]>, blocks: &mut [Self]) {
        search.narrow_all(row, blocks);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.get();
    }

    fn is_finite(&self) -> bool {
        F16Le::is_finite(*self)
    }
}
