//! `bf16`: brain floats.

use super::GgmlType;
use super::block::{Block, assert_layout};
use super::le::Bf16Le;
use super::search::Search;

assert_layout!(Bf16Le);

impl Block for Bf16Le {
    const TYPE: GgmlType = GgmlType::BF16;
    /// The largest float that rounds to a finite one.
    const LARGEST: f32 = f32::from_bits(0x7f7f_7fff);
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: &[f32], _: Option<&[f32]>, blocks: &mut [Self]) {
        for (block, &x) in blocks.iter_mut().zip(row) {
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
