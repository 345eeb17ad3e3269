//! What the products need of an instruction set. Knows nothing of how weights are stored.

use super::ActivationBlock;

/// A set of vector instructions; a value of the type is the proof that the processor has them.
///
/// There are vectors of 32 bytes and of eight lanes, for the groups of a span; and *wide* ones of
/// [`ROWS`](Self::ROWS) lanes of four bytes, for the rows of a tile.
pub(in crate::ggml) trait Set: Copy {
    /// 32 bytes.
    type Bytes: Copy;
    /// Eight integers of 32 bits.
    type I32: Copy;
    /// Eight single-precision floats.
    type F32: Copy;
    /// Eight integers of 32 bits of each of two rows.
    type PairI32: Copy;
    /// Eight single-precision floats of each of two rows.
    type PairF32: Copy;
    /// Lanes of a wide vector.
    const ROWS: usize;
    /// As many integers of 32 bits, or twice as many of 16, or four times as many of 8.
    type WideI32: Copy;
    /// As many single-precision floats.
    type WideF32: Copy;
    /// Signed levels are stored in tiles with 128 added.
    const UNSIGNED_TILES: bool;

    fn load(self, from: &[u8; 32]) -> Self::Bytes;
    /// 32 bytes that are looked up eight at a time, little-endian. An array that is written in parts
    /// and then loaded as a whole waits until all of it is in the cache.
    fn cells(self, cells: [u64; 4]) -> Self::Bytes;
    /// The entries of a table of cells of eight bytes, little-endian.
    ///
    /// # Panics
    /// If an index is beyond the table, here and in [`half_cells_at`](Self::half_cells_at).
    #[inline(always)]
    fn cells_at<const N: usize>(self, table: &[u64; N], indices: [u32; 4]) -> Self::Bytes {
        let mut cells = [0; 4];
        for (cell, index) in cells.iter_mut().zip(indices) {
            *cell = table[index as usize];
        }
        self.cells(cells)
    }
    /// The entries of a table of four bytes each, little-endian, at `low` and, for those whose bit of
    /// `high` is set, 256 more.
    #[inline(always)]
    fn half_cells_at<const N: usize>(
        self,
        table: &[u32; N],
        low: &[u8; 8],
        high: u8,
    ) -> Self::Bytes {
        let entry = |k: usize| {
            let index = usize::from(low[k]) | usize::from(high >> k & 1) << 8;
            u64::from(table[index])
        };
        let mut cells = [0; 4];
        for (k, cell) in cells.iter_mut().enumerate() {
            *cell = entry(2 * k) | entry(2 * k + 1) << 32;
        }
        self.cells(cells)
    }
    /// The lower 16 bytes of `low`, the upper ones of `high`.
    fn halves(self, low: Self::Bytes, high: Self::Bytes) -> Self::Bytes;
    /// Each byte three times, without a carry.
    fn triple(self, bytes: Self::Bytes) -> Self::Bytes;
    /// How many thirds of 256 each byte is: `3 * byte / 256`.
    fn thirds(self, bytes: Self::Bytes) -> Self::Bytes;
    /// The low nibbles of all bytes, then the high ones.
    fn nibbles(self, from: &[u8; 16]) -> Self::Bytes;
    /// The bits of `mask`, of each byte shifted down by `shift`.
    fn field(self, bytes: Self::Bytes, shift: u32, mask: u8) -> Self::Bytes;
    /// `a | b << shift`, where no bit of `b` leaves its byte.
    fn or_above(self, a: Self::Bytes, b: Self::Bytes, shift: u32) -> Self::Bytes;
    /// The entry of the table at each byte, all from 0 to 15.
    fn lookup(self, table: &[i8; 16], bytes: Self::Bytes) -> Self::Bytes;
    /// The lower 16 bytes times the low nibble of `scales[first]`, the upper ones times that of
    /// `scales[first + 1]`, where all products are bytes. `first` is at most 14.
    fn scale_halves(self, bytes: Self::Bytes, scales: &[u8; 16], first: usize) -> Self::Bytes;
    /// `value` in byte `j` where bit `j` is set, 0 elsewhere.
    fn spread(self, bits: u32, value: u8) -> Self::Bytes;
    /// The two's complement of each byte where that of `minus` is 255, the byte where it is 0.
    fn negate(self, bytes: Self::Bytes, minus: Self::Bytes) -> Self::Bytes;
    /// Each byte and `by`, without a carry.
    fn offset(self, bytes: Self::Bytes, by: u8) -> Self::Bytes;

    /// Integers as 16 bits each.
    fn words(self, integers: [i8; 16]) -> Self::Bytes;
    /// Each 16-bit integer times `by`.
    fn scale_words(self, words: Self::Bytes, by: i16) -> Self::Bytes;
    /// Sums of the activations times the weight of their half, of 16 bits, by group.
    fn weigh_sums(self, weights: Self::Bytes, activations: &ActivationBlock) -> Self::I32;

    /// Asks for a cache line that will be read soon, if there is such an address.
    fn prefetch(self, at: *const u8);

    fn splat(self, x: f32) -> Self::F32;
    fn load_f32(self, from: &[f32; 8]) -> Self::F32;
    /// The half-precision floats with these bits, four to an integer, the first one lowest.
    fn widen(self, halves: [u64; 2]) -> Self::F32;
    /// The half-precision float with these bits, in all lanes.
    fn splat_half(self, half: u16) -> Self::F32;
    /// Halves of the e8m0 scales `2^(e - 127)` of eight bytes, the lowest first; for 255 as if it were
    /// no NaN.
    fn half_powers(self, exponents: u64) -> Self::F32;
    /// Integers as floats.
    fn integers(self, integers: [i8; 8]) -> Self::F32;
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;

    fn pair_i32(self, rows: [Self::I32; 2]) -> Self::PairI32;
    fn pair_f32(self, rows: [Self::F32; 2]) -> Self::PairF32;
    fn pair_sub(self, a: Self::PairI32, b: Self::PairI32) -> Self::PairI32;
    fn pair_to_f32(self, x: Self::PairI32) -> Self::PairF32;
    fn pair_mul(self, a: Self::PairF32, b: Self::PairF32) -> Self::PairF32;
    /// `a * b + c`, rounded once.
    fn pair_fused(self, a: Self::PairF32, b: Self::PairF32, c: Self::PairF32) -> Self::PairF32;

    /// Of each of four rows `((0+4)+(2+6)) + ((1+5)+(3+7))`.
    fn sums(self, pairs: [Self::PairF32; 2]) -> [f32; 4];

    /// The bits of floats.
    fn bytes_of(self, x: Self::F32) -> Self::Bytes;
    /// Writes four bytes of each row at a time: bytes `4 q ..` of row `r` go to
    /// `to[q * ROWS + r]`.
    fn interleave(self, rows: [Self::Bytes; 8], to: &mut [u32]);
    fn wide_load(self, from: &[u32]) -> Self::WideI32;
    fn wide_zero(self) -> Self::WideF32;
    /// The floats with these bits.
    fn wide_floats(self, bits: Self::WideI32) -> Self::WideF32;
    fn wide_splat(self, x: f32) -> Self::WideF32;
    /// The same pair of 16-bit integers in every lane.
    fn wide_pair(self, pair: [i16; 2]) -> Self::WideI32;
    /// `a + b.0 * c.0 + b.1 * c.1`, the latter as pairs of 16 bits.
    fn wide_add_pairs(self, a: Self::WideI32, b: Self::WideI32, c: Self::WideI32) -> Self::WideI32;
    fn wide_to_f32(self, x: Self::WideI32) -> Self::WideF32;
    fn wide_add(self, a: Self::WideF32, b: Self::WideF32) -> Self::WideF32;
    fn wide_mul(self, a: Self::WideF32, b: Self::WideF32) -> Self::WideF32;
    /// `a * b + c`, rounded once.
    fn wide_fused(self, a: Self::WideF32, b: Self::WideF32, c: Self::WideF32) -> Self::WideF32;
    fn wide_store(self, x: Self::WideF32, to: &mut [f32]);
}

/// A set with vectors of 64 bytes, for more than one group of a span.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "has no such vectors yet"))]
pub(in crate::ggml) trait LongBytes: Set {
    /// 64 bytes.
    type Long: Copy;

    /// 16 bytes of each of four groups; zeros where a span ends.
    fn quarters(self, from: [Option<&[u8; 16]>; 4]) -> Self::Long;
    /// The low nibbles of all bytes, and the high ones.
    fn split_nibbles(self, bytes: Self::Long) -> [Self::Long; 2];
    /// [`lookup`](Set::lookup) for all bytes.
    fn long_lookup(self, table: &[i8; 16], bytes: Self::Long) -> Self::Long;
    /// The low nibbles of all bytes, then the high ones.
    fn long_nibbles(self, from: &[u8; 32]) -> Self::Long;
}
