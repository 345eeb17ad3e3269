//! The kernel of a type with the processor's best instructions.

use super::kernel::{RowKernel, TASK_ROWS};
use super::portable::Portable;
use super::unpack::rows_of_tile;
use super::{Kind, Levels, row, tile};

impl RowKernel {
    /// The kernel of a block type.
    pub(in crate::ggml) fn of<B: Levels>() -> Self {
        const { assert!(!(B::SUB_SCALES && matches!(B::KIND, Kind::Signed))) }
        const {
            assert!(B::LONG.is_none() || !B::SUB_SCALES && !matches!(B::KIND, Kind::Signed));
            assert!(B::LONG.is_none() || B::KIND.fits(8));
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(kernel) = super::amx::kernel::<B>() {
            return kernel;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(kernel) = super::vnni::kernel::<B>() {
                return kernel;
            }
            if let Some(kernel) = super::avx2::kernel::<B>() {
                return kernel;
            }
        }
        Self::portable::<B>()
    }

    /// The kernel in plain Rust.
    pub(super) fn portable<B: Levels>() -> Self {
        Self {
            dot_rows: |rows, activations, out| {
                row::dot_rows::<_, B>(Portable, rows, activations, out)
            },
            multiply: |rows, count, inputs, scratch, out| {
                tile::multiply::<_, B>(Portable, rows, count, inputs, scratch, out);
            },
            tile_rows: rows_of_tile::<Portable>(),
            task_rows: TASK_ROWS,
        }
    }
}
