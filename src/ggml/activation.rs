//! The forms in which activations are multiplied with quantized rows.

use bytemuck::Pod;

use super::block::Block;
use super::le::F32Le;
use super::q8_0::BlockQ8_0;
use super::q8_1::BlockQ8_1;
use super::q8_k::BlockQ8K;
use super::search::Search;
use super::simd::{InstructionSet, Work};

/// The form in which a row of activations is multiplied with a row of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the field's own names")]
pub enum Activation {
    /// Single-precision floats.
    F32,
    /// Blocks of 32 8-bit integers with a scale.
    Q8_0,
    /// The same with the sum of the block, for types that have a minimum.
    Q8_1,
    /// Blocks of 256 8-bit integers with a scale and the sums of every 16.
    Q8_K,
}

impl Activation {
    /// Bytes of one row of `columns` activations; `columns` is a multiple of the block size of
    /// the weights they are for.
    pub fn row_bytes(self, columns: usize) -> usize {
        match self {
            Activation::F32 => columns * size_of::<F32Le>(),
            Activation::Q8_0 => columns / 32 * size_of::<BlockQ8_0>(),
            Activation::Q8_1 => columns / 32 * size_of::<BlockQ8_1>(),
            Activation::Q8_K => columns / 256 * size_of::<BlockQ8K>(),
        }
    }

    /// Quantizes one row of activations.
    ///
    /// Expects finite values: with 8 bits, others need not show in the dot product.
    ///
    /// # Panics
    ///
    /// If `dst` is not [`row_bytes`](Self::row_bytes) long.
    pub fn quantize(self, src: &[f32], dst: &mut [u8]) {
        self.quantize_with(InstructionSet::best(), src, dst);
    }

    /// [`quantize`](Self::quantize) with one set of instructions: the bytes are the same, the speed
    /// is not.
    pub(super) fn quantize_with(self, set: InstructionSet, src: &[f32], dst: &mut [u8]) {
        assert_eq!(dst.len(), self.row_bytes(src.len()), "length of a row of activations");
        match self {
            Activation::F32 => set.run(Row::<F32Le>::new(src, dst)),
            Activation::Q8_0 => set.run(Row::<BlockQ8_0>::new(src, dst)),
            Activation::Q8_1 => set.run(Row::<BlockQ8_1>::new(src, dst)),
            Activation::Q8_K => set.run(Row::<BlockQ8K>::new(src, dst)),
        }
    }
}

/// A row of activations to quantize.
struct Row<'a, A> {
    src: &'a [f32],
    blocks: &'a mut [A],
}

impl<'a, A: ActivationBlock> Row<'a, A> {
    fn new(src: &'a [f32], dst: &'a mut [u8]) -> Self {
        Self { src, blocks: bytemuck::cast_slice_mut(dst) }
    }
}

impl<A: ActivationBlock> Work for Row<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Search>(self, search: S) {
        A::quantize_activations(search, self.src, self.blocks);
    }
}

/// One block of quantized activations.
pub(super) trait ActivationBlock: Pod {
    /// The form this is a block of.
    const FORM: Activation;

    /// Quantizes one row of whole blocks. Inlined always, so that it is compiled for the
    /// instructions of `search`.
    fn quantize_activations<S: Search>(search: S, row: &[f32], blocks: &mut [Self]);
}

impl ActivationBlock for F32Le {
    const FORM: Activation = Activation::F32;

    #[inline(always)]
    fn quantize_activations<S: Search>(search: S, row: &[f32], blocks: &mut [Self]) {
        Self::quantize_row(search, row, None, blocks);
    }
}

impl ActivationBlock for BlockQ8_0 {
    const FORM: Activation = Activation::Q8_0;

    #[inline(always)]
    fn quantize_activations<S: Search>(search: S, row: &[f32], blocks: &mut [Self]) {
        Self::quantize_row(search, row, None, blocks);
    }
}
