//! Products in plain Rust, for any processor; and the oracle of the other sets.

use super::products::Products;
use super::{ActivationBlock, Levels, Set};
use crate::ggml::e8m0;
use crate::simd::Portable;
use crate::simd::rounding::widen_f16;

/// Lane by lane.
#[inline(always)]
fn each<T: Copy + Default, const N: usize>(f: impl Fn(usize) -> T) -> [T; N] {
    let mut out = [T::default(); N];
    for (i, out) in out.iter_mut().enumerate() {
        *out = f(i);
    }
    out
}

impl Set for Portable<8> {
    type Bytes = [u8; 32];
    type I32 = [i32; 8];
    type F32 = [f32; 8];
    type PairI32 = [[i32; 8]; 2];
    type PairF32 = [[f32; 8]; 2];
    const ROWS: usize = 8;
    type WideI32 = [u32; 8];
    type WideF32 = [f32; 8];
    const UNSIGNED_TILES: bool = false;

    fn load(self, from: &[u8; 32]) -> [u8; 32] {
        *from
    }

    fn cells(self, cells: [u64; 4]) -> [u8; 32] {
        bytemuck::cast(each::<_, 4>(|k| cells[k].to_le_bytes()))
    }

    fn halves(self, low: [u8; 32], high: [u8; 32]) -> [u8; 32] {
        each(|i| if i < 16 { low[i] } else { high[i] })
    }

    fn triple(self, bytes: [u8; 32]) -> [u8; 32] {
        each(|i| bytes[i].wrapping_mul(3))
    }

    fn thirds(self, bytes: [u8; 32]) -> [u8; 32] {
        each(|i| ((u16::from(bytes[i]) * 3) >> 8) as u8)
    }

    fn nibbles(self, from: &[u8; 16]) -> [u8; 32] {
        each(|i| from[i % 16] >> (i / 16 * 4) & 15)
    }

    fn field(self, bytes: [u8; 32], shift: u32, mask: u8) -> [u8; 32] {
        each(|i| bytes[i] >> shift & mask)
    }

    fn or_above(self, a: [u8; 32], b: [u8; 32], shift: u32) -> [u8; 32] {
        each(|i| a[i] | b[i] << shift)
    }

    fn lookup(self, table: &[i8; 16], bytes: [u8; 32]) -> [u8; 32] {
        each(|i| table[usize::from(bytes[i] & 15)] as u8)
    }

    fn scale_halves(self, bytes: [u8; 32], scales: &[u8; 16], first: usize) -> [u8; 32] {
        each(|i| bytes[i] * (scales[first + i / 16] & 15))
    }

    fn spread(self, bits: u32, value: u8) -> [u8; 32] {
        each(|i| if bits >> i & 1 == 1 { value } else { 0 })
    }

    fn negate(self, bytes: [u8; 32], minus: [u8; 32]) -> [u8; 32] {
        each(|i| (bytes[i] ^ minus[i]).wrapping_sub(minus[i]))
    }

    fn offset(self, bytes: [u8; 32], by: u8) -> [u8; 32] {
        each(|i| bytes[i].wrapping_add(by))
    }

    fn words(self, integers: [i8; 16]) -> [u8; 32] {
        bytemuck::cast(each::<_, 16>(|i| i16::from(integers[i])))
    }

    fn scale_words(self, words: [u8; 32], by: i16) -> [u8; 32] {
        let words: [i16; 16] = bytemuck::cast(words);
        bytemuck::cast(each::<_, 16>(|i| words[i] * by))
    }

    fn weigh_sums(self, weights: [u8; 32], activations: &ActivationBlock) -> [i32; 8] {
        let weights: [i16; 16] = bytemuck::cast(weights);
        let product = |i: usize| i32::from(weights[i]) * i32::from(activations.sums[i]);
        each(|g| product(2 * g) + product(2 * g + 1))
    }

    fn prefetch(self, _: *const u8) {}

    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }

    fn load_f32(self, from: &[f32; 8]) -> [f32; 8] {
        *from
    }

    fn bytes_of(self, x: [f32; 8]) -> [u8; 32] {
        bytemuck::cast(x.map(|x| x.to_bits().to_le()))
    }

    fn widen(self, halves: [u64; 2]) -> [f32; 8] {
        each(|i| widen_f16((halves[i / 4] >> (16 * (i % 4))) as u16))
    }

    fn splat_half(self, half: u16) -> [f32; 8] {
        [widen_f16(half); 8]
    }

    fn half_powers(self, exponents: u64) -> [f32; 8] {
        each(|i| e8m0::scale(exponents.to_le_bytes()[i]))
    }

    fn integers(self, integers: [i8; 8]) -> [f32; 8] {
        each(|i| f32::from(integers[i]))
    }

    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| a[i] * b[i])
    }

    fn pair_i32(self, rows: [[i32; 8]; 2]) -> [[i32; 8]; 2] {
        rows
    }

    fn pair_f32(self, rows: [[f32; 8]; 2]) -> [[f32; 8]; 2] {
        rows
    }

    fn pair_sub(self, a: [[i32; 8]; 2], b: [[i32; 8]; 2]) -> [[i32; 8]; 2] {
        each(|row| each(|i| a[row][i] - b[row][i]))
    }

    fn pair_to_f32(self, x: [[i32; 8]; 2]) -> [[f32; 8]; 2] {
        each(|row| each(|i| x[row][i] as f32))
    }

    fn pair_mul(self, a: [[f32; 8]; 2], b: [[f32; 8]; 2]) -> [[f32; 8]; 2] {
        each(|row| self.mul(a[row], b[row]))
    }

    fn pair_fused(self, a: [[f32; 8]; 2], b: [[f32; 8]; 2], c: [[f32; 8]; 2]) -> [[f32; 8]; 2] {
        each(|row| self.wide_fused(a[row], b[row], c[row]))
    }

    fn sums(self, pairs: [[[f32; 8]; 2]; 2]) -> [f32; 4] {
        each(|row| {
            let l = pairs[row / 2][row % 2];
            ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
        })
    }

    fn interleave(self, rows: [[u8; 32]; 8], to: &mut [u32]) {
        for (r, row) in rows.iter().enumerate() {
            for (q, quad) in row.as_chunks::<4>().0.iter().enumerate() {
                to[q * Self::ROWS + r] = u32::from_le_bytes(*quad);
            }
        }
    }

    fn wide_load(self, from: &[u32]) -> [u32; 8] {
        *from.first_chunk().expect("eight lanes")
    }

    fn wide_zero(self) -> [f32; 8] {
        [0.0; 8]
    }

    fn wide_floats(self, bits: [u32; 8]) -> [f32; 8] {
        each(|i| f32::from_bits(bits[i]))
    }

    fn wide_splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }

    fn wide_pair(self, pair: [i16; 2]) -> [u32; 8] {
        [u32::from(pair[0] as u16) | u32::from(pair[1] as u16) << 16; 8]
    }

    fn wide_add_pairs(self, a: [u32; 8], b: [u32; 8], c: [u32; 8]) -> [u32; 8] {
        let product = |b: i16, c: i16| i32::from(b) * i32::from(c);
        each(|i| {
            let low = product(b[i] as i16, c[i] as i16);
            let high = product((b[i] >> 16) as i16, (c[i] >> 16) as i16);
            (a[i] as i32 + low + high) as u32
        })
    }

    fn wide_to_f32(self, x: [u32; 8]) -> [f32; 8] {
        each(|i| x[i] as i32 as f32)
    }

    fn wide_add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        each(|i| a[i] + b[i])
    }

    fn wide_mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        self.mul(a, b)
    }

    fn wide_fused(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        each(|i| a[i].mul_add(b[i], c[i]))
    }

    fn wide_store(self, x: [f32; 8], to: &mut [f32]) {
        to[..8].copy_from_slice(&x);
    }
}

impl Products for Portable<8> {
    fn dot_two<B: Levels>(
        self,
        spans: [&[B]; 2],
        groups: usize,
        activations: &ActivationBlock,
    ) -> [[i32; 8]; 2] {
        spans.map(|span| dot_groups(span, groups, activations))
    }

    fn multiply_group<B: Levels, const T: usize>(
        self,
        levels: [&[u32]; 2],
        sub_scales: [&[u32]; 2],
        activations: [&[i8; 32]; T],
    ) -> [[[u32; 8]; T]; 2] {
        let mut sums = [[[0; 8]; T]; 2];
        for (half, sums) in sums.iter_mut().enumerate() {
            for (a, sums) in activations.iter().zip(sums) {
                for (r, sum) in sums.iter_mut().enumerate() {
                    let mut total = 0;
                    for (i, &a) in a.iter().enumerate() {
                        let byte = levels[half][i / 4 * 8 + r].to_le_bytes()[i % 4];
                        let mut product = level::<B>(byte) * i32::from(a);
                        if B::SUB_SCALES {
                            product *= i32::from(sub_scales[half][i / 16 * 8 + r] as i16);
                        }
                        total += product;
                    }
                    *sum = total as u32;
                }
            }
        }
        sums
    }
}

/// Sums of products of the first `groups` groups of a span, and zeros.
fn dot_groups<B: Levels>(span: &[B], groups: usize, activations: &ActivationBlock) -> [i32; 8] {
    let sub_scales = B::sub_scales(span);
    each(|g| {
        if g >= groups {
            return 0;
        }
        let levels = B::levels(Portable::<8>, span, g);
        let mut sum = 0;
        for (i, &a) in activations.levels[g].iter().enumerate() {
            let scale = if B::SUB_SCALES { sub_scales[2 * g + i / 16] } else { 1 };
            sum += level::<B>(levels[i]) * i32::from(a) * i32::from(scale);
        }
        sum
    })
}

/// The number that a byte of levels is.
fn level<B: Levels>(byte: u8) -> i32 {
    match B::RANGE {
        super::LevelRange::Unsigned { .. } => i32::from(byte),
        super::LevelRange::Signed => i32::from(byte as i8),
    }
}
