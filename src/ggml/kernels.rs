//! The kernel of every type.

use super::dispatch::dispatch_levels;
use super::{GgmlType, RowKernel};

impl RowKernel {
    /// The kernel of a type; floats have none.
    pub fn new(ty: GgmlType) -> Option<Self> {
        Some(dispatch_levels!(ty, B => Self::of::<B>(), else { return None }))
    }
}
