//! What `q4_K` and `q5_K` share: super-blocks of eight sub-blocks of 32, each sub-block with a scale
//! and a minimum of 6 bits. The two differ in the bits of a level alone.

use super::affine_sub_blocks::{AffineSubBlocks, Scales};
use super::arrays::map;
use super::dot::Set;
use super::le::F16Le;
use super::packing::{join, words};
use super::scales;
use super::search::{AffineSearch, Deviation, ErrorWeights, Steps};

/// A super-block with its levels not yet packed.
pub(super) struct SuperBlock {
    pub d: F16Le,
    pub dmin: F16Le,
    pub scales: PackedScales,
    pub levels: [u8; 256],
}

/// Eight scales and eight minimums of 6 bits.
pub(super) type PackedScales = [u8; 12];

/// Bytes 0 to 3 and 4 to 7 hold the first four scales and minimums; bytes 8 to 11 the lower bits
/// of the others, whose upper bits stand in the upper bits of bytes 0 to 7.
#[inline(always)]
fn pack_scales(scales: &[u8; 8], mins: &[u8; 8]) -> PackedScales {
    let mut packed = [0; 12];
    for j in 0..4 {
        packed[j] = scales[j] | scales[j + 4] >> 4 << 6;
        packed[j + 4] = mins[j] | mins[j + 4] >> 4 << 6;
        packed[j + 8] = scales[j + 4] & 15 | mins[j + 4] << 4;
    }
    packed
}

/// Inverse of [`pack_scales`].
#[inline(always)]
pub(super) fn unpack_scales(packed: &PackedScales) -> ([u8; 8], [u8; 8]) {
    let [a, b, c] = words(packed);
    let (six, four, two) = (0x3f3f_3f3f, 0x0f0f_0f0f, 0x0303_0303);
    let scales = join(a & six, c & four | (a >> 6 & two) << 4);
    let mins = join(b & six, c >> 4 & four | (b >> 6 & two) << 4);
    (scales.to_le_bytes(), mins.to_le_bytes())
}

/// The scales of the sub-blocks, for products.
#[inline(always)]
pub(super) fn group_scales<S: Set>(set: S, d: F16Le, packed: &PackedScales) -> S::F32 {
    scales::of_groups(set, d, bytemuck::cast(unpack_scales(packed).0))
}

/// The minimums, twice for each sub-block, for products.
#[inline(always)]
pub(super) fn group_mins(packed: &PackedScales) -> [i8; 16] {
    let mins = unpack_scales(packed).1;
    let mut twice = [0; 16];
    for (j, min) in twice.iter_mut().enumerate() {
        *min = mins[j / 2] as i8;
    }
    twice
}

/// How `q4_K` and `q5_K` search; they differ in the largest level, in the scales to try, and in
/// where the levels of scales are cut if importance is known: in `q4_K` they are not.
pub(super) const fn search(
    max: i32,
    steps: Steps,
    weighted_scale_cap: u8,
) -> AffineSubBlocks<32, 8> {
    AffineSubBlocks {
        search: AffineSearch { max, steps, error: Deviation::Squared, guarded: false },
        weights: ErrorWeights::Blurred,
        scale_max: 63,
        scale_cap: 63,
        weighted_scale_cap,
        blur: 2.0,
    }
}

impl SuperBlock {
    /// Packs the scales, and rounds the weights to them.
    #[inline(always)]
    pub(super) fn new(
        search: &AffineSubBlocks<32, 8>,
        x: &[f32; 256],
        found: &Scales<8>,
        mut levels: [u8; 256],
    ) -> Self {
        let (d, dmin) = (F16Le::new(found.d), F16Le::new(found.dmin));
        let scales = pack_scales(&found.scales, &found.mins);
        let (stored_scales, stored_mins) = unpack_scales(&scales);
        search.requantize(x, (d, stored_scales), (dmin, stored_mins), &mut levels);
        Self { d, dmin, scales, levels }
    }
}

/// Dequantizes a super-block with the scales `d` and `dmin`: `level` gives level `i` of sub-block `j`.
///
/// From the bits of a sub-block to its weights: by way of all 256 levels it is a third as fast.
#[inline(always)]
pub(super) fn dequantize(
    (d, dmin): (f32, f32),
    scales: &PackedScales,
    level: impl Fn(usize, usize) -> u8,
    out: &mut [f32],
) {
    let (scales, mins) = unpack_scales(scales);
    let scales = map(scales, |scale| d * f32::from(scale));
    let mins = map(mins, |min| dmin * f32::from(min));
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = (scales[j], mins[j]);
        let mut weights = [0.0; 32];
        for (i, y) in weights.iter_mut().enumerate() {
            *y = scale * f32::from(level(j, i)) - min;
        }
        out.copy_from_slice(&weights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_survive_packing() {
        let scales = [0, 63, 17, 32, 5, 48, 63, 1];
        let mins = [63, 0, 9, 33, 62, 31, 16, 15];
        assert_eq!(unpack_scales(&pack_scales(&scales, &mins)), (scales, mins));
    }
}
