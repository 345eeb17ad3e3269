//! Floats that begin where a line of the cache does.

use bytemuck::{Pod, Zeroable};

/// A line of the cache.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Single-precision floats that begin where a line of the cache does, as rows after the first do where
/// they are whole lines: vectors of 64 bytes that two lines share are loaded half as fast. With both
/// sides shifted by 16 bytes, as they come from the allocator, tiles of f32 took 1.3 times as long.
#[derive(Default)]
pub struct Floats {
    lines: Vec<Line>,
}

impl Floats {
    /// Room for `len` floats, whatever they are: it never gets shorter, as what it would grow by has to
    /// be cleared.
    pub fn room(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..len]
    }

    /// The first `len` floats of the room.
    pub fn first(&self, len: usize) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..len]
    }
}
