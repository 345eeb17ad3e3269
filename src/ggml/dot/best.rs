//! The kernel of a type with the processor's best instructions.

use super::kernel::{RowKernel, TASK_ROWS};
use super::unpack::rows_of_tile;
#[cfg(target_arch = "x86_64")]
use super::{ActivationBlock, Inputs, Scratch};
use super::{LevelRange, Levels, row, tile};
use crate::simd::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Vnni};

impl RowKernel {
    /// The kernel of a block type.
    pub(in crate::ggml) fn of<B: Levels>() -> Self {
        const { assert!(!(B::SUB_SCALES && matches!(B::RANGE, LevelRange::Signed))) }
        const {
            assert!(B::LONG.is_none() || !B::SUB_SCALES && !matches!(B::RANGE, LevelRange::Signed));
            assert!(B::LONG.is_none() || B::RANGE.fits(8));
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(kernel) = super::amx::kernel::<B>() {
            return kernel;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(kernel) = Self::vnni::<B>() {
                return kernel;
            }
            if let Some(kernel) = Self::avx2::<B>() {
                return kernel;
            }
        }
        Self::portable::<B>()
    }

    /// The kernel in plain Rust.
    pub(super) fn portable<B: Levels>() -> Self {
        Self {
            dot_rows: |rows, activations, out| {
                row::dot_rows::<_, B>(Portable::<8>, rows, activations, out)
            },
            multiply: |rows, count, inputs, scratch, out| {
                tile::multiply::<_, B>(Portable::<8>, rows, count, inputs, scratch, out);
            },
            tile_rows: rows_of_tile::<Portable<8>>(),
            task_rows: TASK_ROWS,
        }
    }
}

/// The kernel of a type compiled for the features of a set of instructions. Functions of their own: as
/// fields of one argument, what is read and what is written would not be known to be apart.
#[cfg(target_arch = "x86_64")]
macro_rules! compiled {
    ($name:ident for $set:ident: $features:literal) => {
        impl RowKernel {
            /// The kernel of a type, where the processor has the instructions.
            pub(super) fn $name<B: Levels>() -> Option<Self> {
                #[target_feature(enable = $features)]
                fn dot_rows<B: Levels>(
                    set: $set,
                    rows: &[u8],
                    activations: &[ActivationBlock],
                    out: &mut [f32],
                ) {
                    row::dot_rows::<_, B>(set, rows, activations, out);
                }

                #[target_feature(enable = $features)]
                fn multiply<B: Levels>(
                    set: $set,
                    rows: &[u8],
                    count: usize,
                    inputs: Inputs<'_>,
                    scratch: &mut Scratch,
                    out: &mut [f32],
                ) {
                    tile::multiply::<_, B>(set, rows, count, inputs, scratch, out);
                }

                $set::detect()?;
                Some(Self {
                    dot_rows: |rows, activations, out| {
                        let Some(set) = $set::detect() else { unreachable!("it was there before") };
                        // SAFETY: `set` proves that the processor has the features.
                        unsafe { dot_rows::<B>(set, rows, activations, out) }
                    },
                    multiply: |rows, count, inputs, scratch, out| {
                        let Some(set) = $set::detect() else { unreachable!("it was there before") };
                        // SAFETY: as above.
                        unsafe { multiply::<B>(set, rows, count, inputs, scratch, out) }
                    },
                    tile_rows: rows_of_tile::<$set>(),
                    task_rows: TASK_ROWS,
                })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
compiled!(avx2 for Avx2: "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt");
#[cfg(target_arch = "x86_64")]
compiled!(vnni for Vnni:
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt");
