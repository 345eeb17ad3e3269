//! What every block format can do; one implementation per file beside this one.

use bytemuck::Pod;

// What implementations name.
pub(super) use super::GgmlType;
pub(super) use super::le::F16Le;
pub(super) use super::row::Row;
pub(super) use super::search::Search;

/// The largest scale that rounds to a finite one in half precision.
pub(super) const F16_MAX: f32 = 65_519.996;

/// One block of a tensor type: the fixed number of weights that share a scale.
///
/// Implementations are viewed in place over a file's bytes, so they have alignment 1 and their
/// size is the format's.
pub(super) trait Block: Pod {
    /// The type this is a block of.
    const TYPE: GgmlType;

    /// No block holds larger magnitudes. Rows beyond are refused before they are quantized: the
    /// searches for a scale overflow there, and some of them would then write zeros.
    const LARGEST: f32;

    /// Whether there is a rule for blocks without importance in place of a search: they are quantized
    /// so fast that it matters where the weights are, and have no scale larger than a weight.
    const BY_RULE: bool = false;

    /// Whether there is nothing to quantize by without importance; llama.cpp's
    /// `ggml_quantize_requires_imatrix`.
    const NEEDS_IMPORTANCE: bool = false;

    /// Whether AVX2 dequantizes twice as fast as AVX-512: cells that are looked up one by one are put
    /// together to vectors of eight weights at once.
    const DEQUANTIZED_IN_CELLS: bool = false;

    /// Quantizes a row of `blocks.len()` times the block size, all of whose values are finite. The
    /// importance is given where the format needs it; formats that have no use for it ignore it.
    /// Inlined always, so that it is compiled for the instructions of `search`.
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]);

    /// Writes the block's weights into `out`, which is as long as the block.
    fn dequantize(&self, out: &mut [f32]);

    /// Whether the weights that the block stands for are finite.
    fn is_finite(&self) -> bool;
}

/// Asserts at compile time that a block has the size and alignment its type asks for.
macro_rules! assert_layout {
    ($block:ty) => {
        const _: () = assert!(
            size_of::<$block>() == <$block as $crate::ggml::block::Block>::TYPE.block_bytes()
                && align_of::<$block>() == 1
        );
    };
}
pub(super) use assert_layout;
