//! `f32`: single-precision floats.

use super::GgmlType;
use super::block::{Block, assert_layout};
use super::le::F32Le;
use super::search::Search;

assert_layout!(F32Le);

impl Block for F32Le {
    const TYPE: GgmlType = GgmlType::F32;
    const LARGEST: f32 = f32::MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: &[f32], _: Option<&[f32]>, blocks: &mut [Self]) {
        for (block, &x) in blocks.iter_mut().zip(row) {
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
