//! Powers of two as bytes (e8m0), the scales of `mxfp4`.

/// Halves of the e8m0 scales `2^(e - 127)`, halves because the values of `mxfp4` are doubled. The exponent 255,
/// a NaN in the specification, is one more than 254 here, as it is in the reference.
static SCALES: [f32; 256] = {
    let mut scales = [0.0; 256];
    let mut e = 0;
    while e < 256 {
        // The two lowest are subnormal.
        scales[e] = f32::from_bits(if e < 2 { 1 << (21 + e) } else { (e as u32 - 1) << 23 });
        e += 1;
    }
    scales
};

/// Looked up: of what computes it, products of four tokens took a tenth longer.
#[inline(always)]
pub(super) fn scale(e: u8) -> f32 {
    SCALES[usize::from(e)]
}
