//! Bits of levels, shared by the formats that lay them out alike.

/// Nibble `index`, the low one of each byte first.
#[inline(always)]
pub(super) fn nibble(bytes: &[u8], index: usize) -> u8 {
    bytes[index / 2] >> (index % 2 * 4) & 15
}

/// Inverse of [`nibble`] for twice as many levels as bytes.
#[inline(always)]
pub(super) fn pack_pairs<const BYTES: usize>(levels: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (byte, [low, high]) in bytes.iter_mut().zip(levels.as_chunks().0) {
        *byte = low | high << 4;
    }
    bytes
}

/// The nibbles in order, a byte for each, in an integer: compiled from arrays it goes through
/// memory in pieces, and waits for them.
#[inline(always)]
pub(super) fn spread_nibbles(bytes: [u8; 4]) -> u64 {
    let x = u64::from(u32::from_le_bytes(bytes));
    let x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    let x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f
}

/// The pairs of bits in order, the lowest of each byte first, a byte for each.
#[inline(always)]
pub(super) fn spread_two_bits(bytes: [u8; 2]) -> u64 {
    let x = u64::from(u16::from_le_bytes(bytes));
    let x = (x | x << 24) & 0x0000_00ff_0000_00ff;
    let x = (x | x << 12) & 0x000f_000f_000f_000f;
    (x | x << 6) & 0x0303_0303_0303_0303
}

/// Eight bytes in an integer.
#[inline(always)]
pub(super) fn bytes(byte: impl Fn(usize) -> u8) -> u64 {
    let mut bytes = 0;
    for j in 0..8 {
        bytes |= u64::from(byte(j)) << (8 * j);
    }
    bytes
}

/// Twelve bytes in words, of which four can be shifted at a time.
#[inline(always)]
pub(super) fn words(bytes: &[u8; 12]) -> [u32; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// The bytes of two words.
#[inline(always)]
pub(super) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// 32 less than each byte, all of which are below 128.
#[inline(always)]
pub(super) fn less_32(bytes: u64) -> [i8; 8] {
    let high = 0x8080_8080_8080_8080;
    let less = (bytes | high) - 0x2020_2020_2020_2020;
    bytemuck::cast((less ^ high).to_le_bytes())
}

/// 32 levels of 4 bits: byte `j` holds level `j` in its low nibble and level `j + 16` in its high
/// one.
#[inline(always)]
pub(super) fn pack_nibbles(levels: &[u8; 32]) -> [u8; 16] {
    let mut qs = [0; 16];
    for j in 0..16 {
        qs[j] = levels[j] & 15 | levels[j + 16] << 4;
    }
    qs
}

/// Inverse of [`pack_nibbles`].
#[inline(always)]
pub(super) fn unpack_nibbles(qs: &[u8; 16]) -> [u8; 32] {
    let mut levels = [0; 32];
    for j in 0..16 {
        levels[j] = qs[j] & 15;
        levels[j + 16] = qs[j] >> 4;
    }
    levels
}

/// The fifth bits of 32 levels, that of level `j` in bit `j`, little-endian.
#[inline(always)]
pub(super) fn pack_fifth_bits(levels: &[u8; 32]) -> [u8; 4] {
    let mut bits = [0; 4];
    for (bits, levels) in bits.iter_mut().zip(levels.as_chunks::<8>().0) {
        // One bit in each of eight bytes: the product adds that of byte `j`, moved to bit `56 + j`,
        // and others that do not reach there.
        let each = u64::from_le_bytes(*levels) >> 4 & 0x0101_0101_0101_0101;
        *bits = (each.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
    bits
}

/// 32 levels of 5 bits, from [`pack_nibbles`] and [`pack_fifth_bits`].
#[inline(always)]
pub(super) fn unpack_five_bits(qs: &[u8; 16], qh: &[u8; 4]) -> [u8; 32] {
    let mut levels = unpack_nibbles(qs);
    // Tried masks per byte instead of these shifts: half the speed.
    for (j, level) in levels.iter_mut().enumerate() {
        *level |= (qh[j / 8] >> (j % 8) & 1) << 4;
    }
    levels
}

/// The lowest two bits of 256 levels. Each half of 128 has 32 bytes; byte `j` of them holds levels
/// `j`, `j + 32`, `j + 64` and `j + 96` of the half, from the lowest bits up.
#[inline(always)]
pub(super) fn pack_two_bits(levels: &[u8; 256]) -> [u8; 64] {
    let mut qs = [0; 64];
    for (half, qs) in levels.as_chunks::<128>().0.iter().zip(qs.as_chunks_mut::<32>().0) {
        for (k, part) in half.as_chunks::<32>().0.iter().enumerate() {
            for (q, level) in qs.iter_mut().zip(part) {
                *q |= (level & 3) << (2 * k);
            }
        }
    }
    qs
}

/// Moves the next levels to the lowest bits of bytes that hold several of `BITS` each.
///
/// For loops over the parts of a block: with the part's own shift, the compiler shifts by a number
/// that it does not know, and makes the mask for it, which takes half of the time.
#[inline(always)]
pub(super) fn next_level<const BITS: u32>(bytes: &mut [u8; 32]) {
    for byte in bytes {
        *byte >>= BITS;
    }
}

/// The lowest four bits of 256 levels. Each quarter of 64 has 32 bytes; byte `j` of them holds
/// levels `j` and `j + 32` of the quarter.
#[inline(always)]
pub(super) fn pack_four_bits(levels: &[u8; 256]) -> [u8; 128] {
    let mut qs = [0; 128];
    for (quarter, qs) in levels.as_chunks::<64>().0.iter().zip(qs.as_chunks_mut::<32>().0) {
        for j in 0..32 {
            qs[j] = quarter[j] & 15 | quarter[j + 32] << 4;
        }
    }
    qs
}

/// Bit `BIT` of 256 levels: that of level `i` is bit `i / 32` of byte `i % 32`.
#[inline(always)]
pub(super) fn pack_bit<const BIT: u32>(levels: &[u8; 256]) -> [u8; 32] {
    let mut bits = [0; 32];
    for (k, part) in levels.as_chunks::<32>().0.iter().enumerate() {
        for (byte, level) in bits.iter_mut().zip(part) {
            *byte |= (level >> BIT & 1) << k;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_survive_packing() {
        let levels: [u8; 32] = std::array::from_fn(|j| (j as u8 * 7 + 3) % 32);
        let nibbles = pack_nibbles(&levels);
        assert_eq!(unpack_five_bits(&nibbles, &pack_fifth_bits(&levels)), levels);
        assert_eq!(unpack_nibbles(&nibbles), levels.map(|l| l % 16));
    }
}
