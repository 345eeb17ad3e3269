//! Vectors as arrays, in plain Rust: for any processor, and to test on any what is written for
//! vectors.

use std::array::from_fn;

use super::Simd;
use super::rounding::{narrow_f16, round_away, truncate, widen_f16};

/// Vectors of `N` lanes without any vector instruction.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const N: usize>;

/// A method that does the same in every lane.
macro_rules! lanewise {
    ($($name:ident($($arg:ident: $ty:ident),*) -> $result:ident = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: Self::$ty),*) -> Self::$result {
                from_fn(|lane| {
                    $(let $arg = $arg[lane];)*
                    $body
                })
            }
        )*
    };
}

impl<const N: usize> Simd for Portable<N> {
    const LANES: usize = N;
    type F32 = [f32; N];
    type I32 = [i32; N];
    type Mask = [bool; N];

    lanewise! {
        add(a: F32, b: F32) -> F32 = a + b;
        sub(a: F32, b: F32) -> F32 = a - b;
        mul(a: F32, b: F32) -> F32 = a * b;
        div(a: F32, b: F32) -> F32 = a / b;
        sqrt(a: F32) -> F32 = a.sqrt();
        abs(a: F32) -> F32 = a.abs();
        min(a: F32, b: F32) -> F32 = if a < b { a } else { b };
        max(a: F32, b: F32) -> F32 = if a > b { a } else { b };
        lt(a: F32, b: F32) -> Mask = a < b;
        le(a: F32, b: F32) -> Mask = a <= b;
        eq(a: F32, b: F32) -> Mask = a == b;
        select(mask: Mask, a: F32, b: F32) -> F32 = if mask { a } else { b };
        clear(mask: Mask, a: F32) -> F32 = if mask { 0.0 } else { a };
        and(a: Mask, b: Mask) -> Mask = a && b;
        and_not(a: Mask, b: Mask) -> Mask = a && !b;
        sub_i32(a: I32, b: I32) -> I32 = a.wrapping_sub(b);
        and_i32(a: I32, b: I32) -> I32 = a & b;
        min_i32(a: I32, b: I32) -> I32 = a.min(b);
        max_i32(a: I32, b: I32) -> I32 = a.max(b);
        keep_i32(mask: Mask, a: I32) -> I32 = if mask { a } else { 0 };
        to_bits(a: F32) -> I32 = a.to_bits() as i32;
        to_f32(a: I32) -> F32 = a as f32;
        times_power_of_two(x: F32, n_in_low_bits: F32) -> F32 = {
            let exponent = n_in_low_bits.to_bits() << 23;
            f32::from_bits(x.to_bits().wrapping_add(exponent))
        };
        truncate(a: F32) -> I32 = truncate(a);
        round_away(a: F32) -> I32 = round_away(a);
        shift_nibble(a: I32) -> I32 = (a as u32 >> 4) as i32;
    }

    #[inline(always)]
    fn lookup_lane(self, table: [f32; N], index: [i32; N]) -> [f32; N] {
        index.map(|index| table[index as usize & 15])
    }

    #[inline(always)]
    fn load_bits(self, x: &[u32]) -> [i32; N] {
        from_fn(|lane| x[lane] as i32)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; N] {
        [x; N]
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> [f32; N] {
        from_fn(|lane| x[lane])
    }

    #[inline(always)]
    fn store(self, x: [f32; N], out: &mut [f32]) {
        out[..N].copy_from_slice(&x);
    }

    #[inline(always)]
    fn bits(self, mask: [bool; N]) -> u32 {
        (0..N).fold(0, |bits, lane| bits | u32::from(mask[lane]) << lane)
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> [i32; N] {
        [x; N]
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: [i32; N]) -> [f32; N] {
        index.map(|i| table[i as usize])
    }

    #[inline(always)]
    fn smallest_of_each(self, vectors: &[[f32; N]]) -> [f32; N] {
        from_fn(|i| vectors[i].into_iter().fold(f32::INFINITY, f32::min))
    }

    #[inline(always)]
    fn largest_of_each(self, vectors: &[[f32; N]]) -> [f32; N] {
        from_fn(|i| vectors[i].into_iter().fold(f32::NEG_INFINITY, f32::max))
    }

    #[inline(always)]
    fn low_bytes(self, parts: &[[i32; N]]) -> [u8; 32] {
        from_fn(|i| parts[i / N][i % N] as u8)
    }

    #[inline(always)]
    fn small_bytes(self, parts: &[[i32; N]]) -> [u8; 32] {
        self.low_bytes(parts)
    }

    #[inline(always)]
    fn top_bits(self, bytes: &[u8; 32]) -> u32 {
        (0..32).fold(0, |bits, i| bits | u32::from(bytes[i] >> 7) << i)
    }

    #[inline(always)]
    fn store_f16(self, x: [f32; N], out: &mut [[u8; 2]]) {
        out[..N].copy_from_slice(&x.map(|x| narrow_f16(x).to_le_bytes()));
    }

    #[inline(always)]
    fn load_f16(self, x: &[[u8; 2]]) -> [f32; N] {
        from_fn(|lane| widen_f16(u16::from_le_bytes(x[lane])))
    }

    #[inline(always)]
    fn load_bf16(self, x: &[[u8; 2]]) -> [f32; N] {
        from_fn(|lane| f32::from_bits(u32::from(u16::from_le_bytes(x[lane])) << 16))
    }

    #[inline(always)]
    fn store_i32(self, x: [i32; N], out: &mut [i32]) {
        out[..N].copy_from_slice(&x);
    }
}
