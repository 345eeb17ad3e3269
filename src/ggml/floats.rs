//! `f32`, `f16` and `bf16`: floats of three precisions.

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::le::{Bf16Le, F32Le};

/// A float that is made of each weight by itself.
macro_rules! float {
    ($float:ident, $ty:ident, $largest:expr) => {
        assert_layout!($float);

        impl Block for $float {
            const TYPE: GgmlType = GgmlType::$ty;
            const LARGEST: f32 = $largest;
            const BY_RULE: bool = true;

            #[inline(always)]
            fn quantize_row<S: Search>(_: S, row: Row<'_>, blocks: &mut [Self]) {
                for (block, &x) in blocks.iter_mut().zip(row.x) {
                    *block = Self::new(x);
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
    };
}

float!(F32Le, F32, f32::MAX);
// The largest float that rounds to a finite one.
float!(Bf16Le, BF16, f32::from_bits(0x7f7f_7fff));

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
