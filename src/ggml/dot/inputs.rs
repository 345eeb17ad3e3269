//! What tiles of rows are multiplied with.

use super::ActivationBlock;

/// Rows of activations, by number.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// All rows.
    pub blocks: &'a [ActivationBlock],
    /// Blocks from the beginning of one row to that of the next.
    pub stride: usize,
    /// Which rows.
    pub numbers: &'a [u32],
}
