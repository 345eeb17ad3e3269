//! Vectors of floats and integers whose lanes do not know of each other, over several instruction
//! sets. The same to the bit on every set: a lane does what the scalar operation does.

/// The most lanes of any set.
pub(crate) const MAX_LANES: usize = 16;

/// A set of vector instructions; a value of the type is the proof that the processor has them.
///
/// The comparisons are false where a side is NaN, `min` and `max` give `b` then and where both are
/// equal: those are C's `a < b ? a : b` and `a > b ? a : b`, and x86's.
pub(crate) trait Simd: Copy {
    /// Lanes of a vector, at most [`MAX_LANES`].
    const LANES: usize;
    /// Single-precision floats.
    type F32: Copy;
    /// 32-bit integers.
    type I32: Copy;
    /// A truth value for every lane.
    type Mask: Copy;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F32;
    /// The first [`LANES`](Self::LANES) floats of `x`, which has as many.
    fn load(self, x: &[f32]) -> Self::F32;
    /// The inverse of [`load`](Self::load).
    fn store(self, x: Self::F32, out: &mut [f32]);

    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// Clears the sign.
    fn abs(self, a: Self::F32) -> Self::F32;
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;

    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    fn le(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a` where the mask is true, `b` elsewhere.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Zero where the mask is true, `a` elsewhere. Of [`select`](Self::select) the compiler makes longer
    /// vectors in code for AVX-512, which took a tenth longer.
    fn clear(self, mask: Self::Mask, a: Self::F32) -> Self::F32;
    fn and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// `a` and not `b`.
    fn and_not(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// The lanes of the mask as bits, lane 0 lowest.
    fn bits(self, mask: Self::Mask) -> u32;

    /// `x` in every lane.
    fn splat_i32(self, x: i32) -> Self::I32;
    fn store_i32(self, x: Self::I32, out: &mut [i32]);
    /// The bits of the first [`LANES`](Self::LANES) numbers of `x`, which has as many.
    fn load_bits(self, x: &[u32]) -> Self::I32;
    /// Bits four places down, zeros from above.
    fn shift_nibble(self, a: Self::I32) -> Self::I32;
    /// The lane of `table` that the lowest four bits of each index say: at most 7.
    fn lookup_lane(self, table: Self::F32, index: Self::I32) -> Self::F32;
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    fn min_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    fn max_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a` where the mask is true, zero elsewhere.
    fn keep_i32(self, mask: Self::Mask, a: Self::I32) -> Self::I32;
    /// The entry of the table at each index, all from 0 to 15.
    fn lookup(self, table: &[f32; 16], index: Self::I32) -> Self::F32;
    /// The bits of floats.
    fn to_bits(self, a: Self::F32) -> Self::I32;
    /// The nearest float.
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// `x * 2^n` in lanes that hold finite, normal numbers before and after, where `n` is what the
    /// lowest bits of the representation of `n_in_low_bits` hold, in two's complement.
    fn times_power_of_two(self, x: Self::F32, n_in_low_bits: Self::F32) -> Self::F32;
    /// Towards zero; `i32::MIN` where the result is none.
    fn truncate(self, a: Self::F32) -> Self::I32;
    /// [`rounding::round_away`](crate::simd::rounding::round_away).
    fn round_away(self, a: Self::F32) -> Self::I32;

    /// The smallest lane of each vector, of which there are as many as lanes. Any of the zeros.
    fn smallest_of_each(self, vectors: &[Self::F32]) -> Self::F32;
    /// The largest lane of each vector, of which there are as many as lanes. Any of the zeros.
    fn largest_of_each(self, vectors: &[Self::F32]) -> Self::F32;
    /// The low bytes of all lanes of `parts`, which have 32.
    fn low_bytes(self, parts: &[Self::I32]) -> [u8; 32];
    /// [`low_bytes`](Self::low_bytes) of lanes that are from 0 to 255, or `i32::MIN`.
    fn small_bytes(self, parts: &[Self::I32]) -> [u8; 32];
    /// The highest bit of each byte, that of byte 0 lowest.
    fn top_bits(self, bytes: &[u8; 32]) -> u32;
    /// The nearest half-precision floats, ties to even, little-endian.
    fn store_f16(self, x: Self::F32, out: &mut [[u8; 2]]);
    /// The first [`LANES`](Self::LANES) half-precision floats, little-endian.
    fn load_f16(self, x: &[[u8; 2]]) -> Self::F32;
    /// The first [`LANES`](Self::LANES) brain floats, little-endian.
    fn load_bf16(self, x: &[[u8; 2]]) -> Self::F32;

    /// `a < b` where the mask is true, false elsewhere. AVX-512 has an instruction for it, while of
    /// [`and`](Self::and) on several masks the compiler makes detours through other registers.
    #[inline(always)]
    fn lt_where(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::Mask {
        self.and(mask, self.lt(a, b))
    }

    /// Where the mask is true, whether `a` and `b` are not equal; false elsewhere.
    #[inline(always)]
    fn differ_where(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::Mask {
        self.and_not(mask, self.eq(a, b))
    }

    /// Whether any lane is true.
    #[inline(always)]
    fn any(self, mask: Self::Mask) -> bool {
        self.bits(mask) != 0
    }

    /// Whether every lane is true.
    #[inline(always)]
    fn all(self, mask: Self::Mask) -> bool {
        self.bits(mask) == (1 << Self::LANES) - 1
    }

    /// [`rounding::nearest_int`](crate::simd::rounding::nearest_int), whatever the input.
    #[inline(always)]
    fn nearest_int(self, a: Self::F32) -> Self::I32 {
        let bits = self.to_bits(self.add(a, self.splat(12_582_912.0)));
        let mantissa = self.and_i32(bits, self.splat_i32(0x007f_ffff));
        self.sub_i32(mantissa, self.splat_i32(0x0040_0000))
    }

    /// Nearest whole number, ties to even, for magnitudes up to 2^22 only.
    #[inline(always)]
    fn nearest(self, a: Self::F32) -> Self::F32 {
        let magic = self.splat(12_582_912.0);
        self.sub(self.add(a, magic), magic)
    }

    /// Swaps lane `j` of vector `i` with lane `i` of vector `j`, of as many vectors as lanes.
    #[inline(always)]
    fn transpose(self, vectors: &mut [Self::F32]) {
        let mut lanes = [[0.0; MAX_LANES]; MAX_LANES];
        for (i, &vector) in vectors.iter().enumerate() {
            let mut row = [0.0; MAX_LANES];
            self.store(vector, &mut row);
            for (lane, column) in row.iter().zip(&mut lanes) {
                column[i] = *lane;
            }
        }
        for (vector, lanes) in vectors.iter_mut().zip(&lanes) {
            *vector = self.load(lanes);
        }
    }

    /// The low bytes of four vectors, those of a lane side by side. All lanes are from 0 to 255.
    #[inline(always)]
    fn bytes_by_lane(self, vectors: [Self::I32; 4]) -> [[u8; 4]; MAX_LANES] {
        let mut bytes = [[0; 4]; MAX_LANES];
        for (i, vector) in vectors.into_iter().enumerate() {
            let mut lanes = [0; MAX_LANES];
            self.store_i32(vector, &mut lanes);
            for (bytes, lane) in bytes.iter_mut().zip(lanes) {
                bytes[i] = lane as u8;
            }
        }
        bytes
    }

    /// Column `i` of up to [`LANES`](Self::LANES) rows, one row per lane; lanes without a row
    /// repeat the last one.
    #[inline(always)]
    fn load_columns<const N: usize>(self, rows: &[[f32; N]]) -> [Self::F32; N] {
        let mut each = [&rows[0]; MAX_LANES];
        for (lane, each) in each.iter_mut().enumerate() {
            *each = &rows[lane.min(rows.len() - 1)];
        }
        let mut columns = [self.splat(0.0); N];
        self.load_columns_of(&each, &mut columns);
        columns
    }

    /// Column `i` of as many rows as lanes; there may be more. Into memory that is there: columns
    /// that a function answered with were copied, some of them twice.
    #[inline(always)]
    fn load_columns_of<const N: usize>(
        self,
        rows: &[&[f32; N]; MAX_LANES],
        columns: &mut [Self::F32; N],
    ) {
        for (part, columns) in columns.chunks_mut(Self::LANES).enumerate() {
            let start = part * Self::LANES;
            if columns.len() == Self::LANES {
                for (column, row) in columns.iter_mut().zip(rows) {
                    *column = self.load(&row[start..]);
                }
                self.transpose(columns);
                continue;
            }
            let mut square = [self.splat(0.0); MAX_LANES];
            for (vector, row) in square[..Self::LANES].iter_mut().zip(rows) {
                let mut rest = [0.0; MAX_LANES];
                rest[..columns.len()].copy_from_slice(&row[start..]);
                *vector = self.load(&rest);
            }
            self.transpose(&mut square[..Self::LANES]);
            columns.copy_from_slice(&square[..columns.len()]);
        }
    }

    /// The low bytes of sixteen vectors, those of a lane side by side. All lanes are from 0 to 255.
    /// Sets put rows together in registers: one that is read after it was written in four parts is
    /// waited for until all of them are in the cache.
    #[inline(always)]
    fn rows_of_bytes(self, vectors: [Self::I32; 16]) -> [[u8; 16]; MAX_LANES] {
        let mut rows = [[0; 16]; MAX_LANES];
        for (i, &four) in vectors.as_chunks().0.iter().enumerate() {
            for (row, bytes) in rows.iter_mut().zip(self.bytes_by_lane(four)) {
                row[4 * i..][..4].copy_from_slice(&bytes);
            }
        }
        rows
    }

    /// The inverse of [`load_columns`](Self::load_columns) for whole numbers from 0 to 255, of
    /// which there are four columns or a multiple.
    #[inline(always)]
    fn store_columns<const N: usize>(self, columns: &[Self::F32; N], rows: &mut [[u8; N]]) {
        let (many, rest) = columns.as_chunks::<16>();
        for (i, sixteen) in many.iter().enumerate() {
            let mut integers = [self.splat_i32(0); 16];
            for (integer, &column) in integers.iter_mut().zip(sixteen) {
                *integer = self.truncate(column);
            }
            for (row, bytes) in rows.iter_mut().zip(self.rows_of_bytes(integers)) {
                row[16 * i..][..16].copy_from_slice(&bytes);
            }
        }
        for (i, four) in rest.as_chunks::<4>().0.iter().enumerate() {
            let bytes = self.bytes_by_lane([
                self.truncate(four[0]),
                self.truncate(four[1]),
                self.truncate(four[2]),
                self.truncate(four[3]),
            ]);
            for (row, bytes) in rows.iter_mut().zip(bytes) {
                row[16 * many.len() + 4 * i..][..4].copy_from_slice(&bytes);
            }
        }
    }
}
