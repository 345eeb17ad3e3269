//! Weights of which a codebook has the magnitudes, eight to a cell: what the `iq2` and `iq3` types
//! have in common once their points are looked up. Knows nothing of how points and signs are packed.

/// Some cells of eight weights, each in an integer with the first byte lowest: arrays of bytes went
/// through memory, where a load of what was stored in parts waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedCells<const N: usize> {
    /// All above zero.
    pub magnitudes: [u64; N],
    /// [`MINUS`] of the cell's signs.
    pub minus: [u64; N],
}

/// A cell of the values of two points.
#[inline(always)]
pub(super) fn cell_of_two(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// By eight signs, a bit each: a byte of 255 where it is set, 0 elsewhere. Tables took half the time
/// of spreading the bits.
pub(super) static MINUS: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 * 8 {
        let (signs, bit) = (i / 8, i % 8);
        table[signs] |= if signs >> bit & 1 == 1 { 255 << (8 * bit) } else { 0 };
        i += 1;
    }
    table
};

/// [`MINUS`] by the first seven of eight signs, of which an even number is set.
pub(super) static EVEN_MINUS: [u64; 128] = {
    let mut table = [0; 128];
    let mut i: usize = 0;
    while i < 128 {
        table[i] = MINUS[i | (i.count_ones() as usize & 1) << 7];
        i += 1;
    }
    table
};

/// [`EVEN_MINUS`] of each seven bits, from the lowest on.
#[inline(always)]
pub(super) fn even_minus(signs: u32) -> [u64; 4] {
    let mut minus = [0; 4];
    for (k, minus) in minus.iter_mut().enumerate() {
        *minus = EVEN_MINUS[(signs >> (7 * k) & 127) as usize];
    }
    minus
}

impl<const N: usize> SignedCells<N> {
    /// The weights, but for their scale.
    #[inline(always)]
    pub(super) fn values(&self) -> [[i8; 8]; N] {
        let mut values = [[0; 8]; N];
        for ((values, cell), minus) in values.iter_mut().zip(&self.magnitudes).zip(&self.minus) {
            // The two's complement: one more than all bits turned, which overflows for zero alone.
            let negated = (cell ^ minus) + (minus & 0x0101_0101_0101_0101);
            *values = bytemuck::cast(negated.to_le_bytes());
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_turn_values_around() {
        let minus = [MINUS[0b1000_0010], EVEN_MINUS[0b10]];
        let magnitudes = [0x3e07_0605_0403_0201, cell_of_two(0x0403_0201, 0x3e07_0605)];
        let cells = SignedCells { magnitudes, minus };
        assert_eq!(cells.values(), [[1, -2, 3, 4, 5, 6, 7, -62]; 2]);
        assert_eq!(even_minus(0b10 << 14), [MINUS[0], MINUS[0], minus[1], MINUS[0]]);
    }
}
