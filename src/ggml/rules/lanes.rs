//! The rules with vectors, whose lanes hold the weights of one block.

use super::{BATCH, Rules};
use crate::ggml::le::F16Le;
use crate::ggml::measures;
use crate::simd::{MAX_LANES, Simd};

/// The most vectors that 32 weights fill: no set has fewer lanes than 8.
const PARTS: usize = 4;

/// How far products with an inverse are from quotients below twice a number, for that number: more
/// than two units in the last place. Where none is that close to where rounding turns, both round
/// alike; divisions are what vectors are slowest at, and one in thousands of random weights needs
/// them.
const QUOTIENT_ERROR: f32 = 1.0 / 524_288.0;

impl<S: Simd> Rules for S {
    #[inline(always)]
    fn largest<const N: usize>(self, blocks: &[[f32; N]]) -> [f32; BATCH] {
        let mut found = [0.0; BATCH];
        for (blocks, found) in blocks.chunks(S::LANES).zip(found.chunks_exact_mut(S::LANES)) {
            let (min, max) = extremes(self, blocks);
            let opposite = self.sub(self.splat(0.0), min);
            self.store(self.select(self.lt(max, opposite), min, max), found);
            let ties = self.bits(self.eq(max, opposite));
            if ties != 0 {
                // Which sign came first, vectors do not know.
                for (lane, (x, found)) in blocks.iter().zip(found).enumerate() {
                    if ties >> lane & 1 == 1 {
                        *found = measures::largest(x);
                    }
                }
            }
        }
        found
    }

    #[inline(always)]
    fn largest_magnitudes(self, blocks: &[[f32; 32]]) -> [f32; BATCH] {
        let mut found = [0.0; BATCH];
        for (blocks, found) in blocks.chunks(S::LANES).zip(found.chunks_exact_mut(S::LANES)) {
            let spare;
            let blocks = if blocks.len() < S::LANES {
                spare = filled(blocks);
                &spare[..S::LANES]
            } else {
                blocks
            };
            let mut largest = [self.splat(0.0); MAX_LANES];
            for lane in 0..S::LANES {
                let x = &blocks[lane];
                let mut high = self.abs(self.load(x));
                for i in 1..32 / S::LANES {
                    high = self.max(high, self.abs(self.load(&x[i * S::LANES..])));
                }
                largest[lane] = high;
            }
            self.store(self.largest_of_each(&largest[..S::LANES]), found);
        }
        found
    }

    #[inline(always)]
    fn ranges(self, blocks: &[[f32; 32]]) -> ([f32; BATCH], [f32; BATCH]) {
        let (mut mins, mut maxs) = ([0.0; BATCH], [0.0; BATCH]);
        let found = mins.chunks_exact_mut(S::LANES).zip(maxs.chunks_exact_mut(S::LANES));
        for (blocks, (mins, maxs)) in blocks.chunks(S::LANES).zip(found) {
            let (min, max) = extremes(self, blocks);
            self.store(min, mins);
            self.store(max, maxs);
            let zero = self.splat(0.0);
            let zeros = self.bits(self.eq(min, zero)) | self.bits(self.eq(max, zero));
            if zeros != 0 {
                // Which zero came first, vectors do not know, and its sign is stored.
                for ((x, min), max) in blocks.iter().zip(mins).zip(maxs) {
                    (*min, *max) = measures::range(x);
                }
            }
        }
        (mins, maxs)
    }

    #[inline(always)]
    fn levels(self, x: &[f32; 32], min: f32, factor: f32, offset: f32, max: i8) -> [u8; 32] {
        let (min, factor, offset) = (self.splat(min), self.splat(factor), self.splat(offset));
        let mut levels = [self.splat_i32(0); PARTS];
        for (part, level) in x.chunks_exact(S::LANES).zip(&mut levels) {
            let scaled = self.mul(self.sub(self.load(part), min), factor);
            *level = self.truncate(self.add(scaled, offset));
        }
        // Bytes are compared four times as fast as the integers would be.
        let mut levels = self.small_bytes(&levels[..32 / S::LANES]);
        for level in &mut levels {
            *level = (*level).min(max as u8);
        }
        levels
    }

    #[inline(always)]
    fn rounded_away(self, x: &[f32; 32], factor: f32) -> [i8; 32] {
        let factor = self.splat(factor);
        let mut levels = [self.splat_i32(0); PARTS];
        for (part, level) in x.chunks_exact(S::LANES).zip(&mut levels) {
            *level = self.round_away(self.mul(self.load(part), factor));
        }
        bytemuck::cast(self.low_bytes(&levels[..32 / S::LANES]))
    }

    #[inline(always)]
    fn rounded_even(self, x: &[f32; 32], factor: f32) -> [i8; 32] {
        let (factor, max) = (self.splat(factor), self.splat_i32(127));
        let mut levels = [max; PARTS];
        for (part, level) in x.chunks_exact(S::LANES).zip(&mut levels) {
            *level = self.min_i32(self.nearest_int(self.mul(factor, self.load(part))), max);
        }
        bytemuck::cast(self.low_bytes(&levels[..32 / S::LANES]))
    }

    #[inline(always)]
    fn quotients(self, x: &[f32; 256], divisors: &[f32; 16], max: i8, levels: &mut [u8; 256]) {
        let mut inverses = [0.0; 16];
        for (inverse, divisor) in inverses.iter_mut().zip(divisors) {
            *inverse = 1.0 / divisor;
        }
        let (low, high) = (self.splat_i32(-i32::from(max)), self.splat_i32(i32::from(max) - 1));
        let turn = self.splat(0.5 - f32::from(max) * QUOTIENT_ERROR);
        let whole = self.splat(2_097_152.0);
        let always = self.lt(self.splat(0.0), whole);
        // No zipped chunks: over so few vectors, they kept their state in memory.
        for (pair, levels) in levels.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (mut rounded, mut certain) = ([low; PARTS], always);
            let rounded = &mut rounded[..32 / S::LANES];
            for (i, level) in rounded.iter_mut().enumerate() {
                let start = 32 * pair + i * S::LANES;
                let quotient = self.mul(self.load(&x[start..]), self.splat(inverses[start / 16]));
                let nearest = self.nearest(quotient);
                certain = self.lt_where(certain, self.abs(self.sub(quotient, nearest)), turn);
                certain = self.lt_where(certain, self.abs(quotient), whole);
                *level = self.truncate(nearest);
            }
            if !self.all(certain) {
                for (i, level) in rounded.iter_mut().enumerate() {
                    let start = 32 * pair + i * S::LANES;
                    let divisor = self.splat(divisors[start / 16]);
                    *level = self.nearest_int(self.div(self.load(&x[start..]), divisor));
                }
            }
            for level in &mut *rounded {
                *level = self.sub_i32(self.min_i32(self.max_i32(*level, low), high), low);
            }
            let rounded = self.low_bytes(rounded);
            if divisors[2 * pair] != 0.0 {
                levels[..16].copy_from_slice(&rounded[..16]);
            }
            if divisors[2 * pair + 1] != 0.0 {
                levels[16..].copy_from_slice(&rounded[16..]);
            }
        }
    }

    #[inline(always)]
    fn ranks(self, x: &[f32; 32], factor: f32, bounds: &[f32; 7]) -> [u8; 32] {
        let factor = self.splat(factor);
        let mut ranks = [self.splat_i32(0); PARTS];
        for (part, rank) in x.chunks_exact(S::LANES).zip(&mut ranks) {
            let part = self.mul(self.load(part), factor);
            let magnitude = self.abs(part);
            let mut found = self.splat(0.0);
            for (i, &bound) in bounds.iter().enumerate() {
                let above = self.lt(self.splat(bound), magnitude);
                found = self.select(above, self.splat(i as f32 + 1.0), found);
            }
            let negative = self.lt(part, self.splat(-bounds[0]));
            let sign = self.select(negative, self.splat(8.0), self.splat(0.0));
            *rank = self.truncate(self.add(found, sign));
        }
        self.low_bytes(&ranks[..32 / S::LANES])
    }

    #[inline(always)]
    fn fifth_bits(self, levels: &[u8; 32]) -> [u8; 4] {
        // A loop, for the closure of a `map` is compiled without the set's instructions.
        let mut top = [0; 32];
        for (top, level) in top.iter_mut().zip(levels) {
            *top = level << 3;
        }
        self.top_bits(&top).to_le_bytes()
    }

    #[inline(always)]
    fn narrow_all(self, x: &[f32], out: &mut [F16Le]) {
        let (parts, rest) = (x.chunks_exact(S::LANES), x.chunks_exact(S::LANES).remainder());
        let mut outs = bytemuck::cast_slice_mut(out).chunks_exact_mut(S::LANES);
        for (part, out) in parts.zip(&mut outs) {
            self.store_f16(self.load(part), out);
        }
        for (&x, out) in rest.iter().zip(outs.into_remainder()) {
            *out = bytemuck::cast(F16Le::new(x));
        }
    }
}

/// The smallest and the largest value of up to as many blocks as there are lanes; lanes without a
/// block repeat the last one.
#[inline(always)]
fn extremes<S: Simd, const N: usize>(s: S, blocks: &[[f32; N]]) -> (S::F32, S::F32) {
    let spare;
    let blocks = if blocks.len() < S::LANES {
        spare = filled(blocks);
        &spare[..S::LANES]
    } else {
        blocks
    };
    let (mut mins, mut maxs) = ([s.splat(0.0); MAX_LANES], [s.splat(0.0); MAX_LANES]);
    // Indices, where iterators kept their own state in memory and took half of the time.
    for lane in 0..S::LANES {
        let x = &blocks[lane];
        // Kept apart from the arrays until the end: the compiler leaves those in memory.
        let (mut low, mut high) = (s.load(x), s.load(x));
        for i in 1..N / S::LANES {
            let part = s.load(&x[i * S::LANES..]);
            (low, high) = (s.min(low, part), s.max(high, part));
        }
        (mins[lane], maxs[lane]) = (low, high);
    }
    (s.smallest_of_each(&mins[..S::LANES]), s.largest_of_each(&maxs[..S::LANES]))
}

/// A batch shorter than the lanes with its last block repeated.
#[inline(always)]
fn filled<const N: usize>(blocks: &[[f32; N]]) -> [[f32; N]; MAX_LANES] {
    let mut filled = [[0.0; N]; MAX_LANES];
    for (lane, block) in filled.iter_mut().enumerate() {
        *block = blocks[lane.min(blocks.len() - 1)];
    }
    filled
}
