//! What tiles of rows are multiplied with.

use super::Run;

/// Rows of activations, by number.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// All rows.
    pub runs: &'a [Run],
    /// Runs from the beginning of one row to that of the next.
    pub stride: usize,
    /// Which rows.
    pub numbers: &'a [u32],
}
