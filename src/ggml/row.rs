//! Rows to quantize, in batches of blocks that are searched together: enough sub-blocks for all lanes
//! of the widest vectors, few enough that what is kept of them stays in the nearest cache.

/// Super-blocks of 256 weights in a batch.
pub(super) const SUPER_BLOCKS: usize = 16;

/// Super-blocks in a batch of a search that goes on with fewer and fewer sub-blocks: so many that the
/// last rounds, with lanes left empty, are rare. They stay in the second-level cache.
pub(super) const MANY_SUPER_BLOCKS: usize = 64;

/// Blocks of 32 weights in a batch.
pub(super) const BLOCKS: usize = 64;

/// A row to quantize, or, where no importance is known, any number of blocks.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// The weights.
    pub x: &'a [f32],
    /// How much the error of each counts, where it is known; as long.
    pub importance: Option<&'a [f32]>,
}

/// Weights of a batch, their importance where it is known, and the blocks.
type Batch<'a, const N: usize, B> = (&'a [[f32; N]], Option<&'a [[f32; N]]>, &'a mut [B]);

impl<'a> Row<'a> {
    /// Batches of at most `BATCH` blocks of `N` weights.
    ///
    /// An iterator, for the bodies of loops are compiled for the instructions of the function around
    /// them. Tried a closure that is called for every batch: it is not, unless it happens to be
    /// inlined.
    #[inline(always)]
    pub fn batches<const BATCH: usize, const N: usize, B>(
        self,
        blocks: &'a mut [B],
    ) -> impl Iterator<Item = Batch<'a, N, B>> {
        let importance = self.importance.map(|all| all.as_chunks().0);
        let x = self.x.as_chunks().0.chunks(BATCH);
        x.zip(blocks.chunks_mut(BATCH)).enumerate().map(move |(i, (x, blocks))| {
            (x, importance.map(|all| &all[i * BATCH..][..x.len()]), blocks)
        })
    }
}
