//! Root-mean-square norm.

/// Sums side by side: one alone waits for every addition.
const SUMS: usize = 16;

/// `out[i] = x[i] / sqrt(mean(x²) + eps) * weight[i]`; the mean is summed in f64.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = scale(x, eps);
    for ((o, &v), &w) in out.iter_mut().zip(x).zip(weight) {
        *o = v * scale * w;
    }
}

/// [`rms_norm`] of `x` into itself.
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = scale(x, eps);
    for (v, &w) in x.iter_mut().zip(weight) {
        *v = *v * scale * w;
    }
}

/// `1 / sqrt(mean(x²) + eps)`.
fn scale(x: &[f32], eps: f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<SUMS>();
    let mut sums = [0.0f64; SUMS];
    for chunk in chunks {
        for (sum, &v) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(v) * f64::from(v);
        }
    }
    let squares: f64 = sums.iter().copied().chain(rest.iter().map(|&v| f64::from(v).powi(2))).sum();
    (1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_to_unit_mean_square() {
        let mut out = [0.0; 2];
        rms_norm(&[3.0, 4.0], &[1.0, 2.0], 0.0, &mut out);
        let scale = 1.0 / 12.5f32.sqrt();
        assert_eq!(out, [3.0 * scale, 4.0 * scale * 2.0]);
        let mut x = [3.0, 4.0];
        rms_norm_in_place(&mut x, &[1.0, 2.0], 0.0);
        assert_eq!(x, out);
    }
}
