//! Memory that products work in.

use bytemuck::{Pod, Zeroable};

/// Memory for what is between, kept from one product to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Unpacked rows.
    pub(super) tiles: Room,
    /// Activations, gathered.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) activations: Room,
    /// Sums that are still to be scaled.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) sums: Room,
}

/// A cache line.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Memory for values of any one type, from the beginning of a cache line on.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<Line>);

impl Room {
    /// Room for `len` values, whatever they are: it never gets shorter.
    pub fn first<T: Pod>(&mut self, len: usize) -> &mut [T] {
        const {
            assert!(
                size_of::<Line>().is_multiple_of(size_of::<T>())
                    || size_of::<T>().is_multiple_of(size_of::<Line>())
            )
        }
        let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        if self.0.len() < lines {
            self.0.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.0[..lines])[..len]
    }
}
