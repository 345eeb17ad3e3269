//! How much the error of each weight counts where its importance is known.

/// How much each weight's error counts: its importance times its magnitude, the latter blurred by
/// the mean square `sigma2` of its surroundings.
#[inline(always)]
pub(in crate::ggml) fn weigh<const N: usize>(
    x: &[f32; N],
    importance: &[f32],
    sigma2: f32,
) -> [f32; N] {
    let mut weights = [0.0; N];
    for ((weight, x), importance) in weights.iter_mut().zip(x).zip(importance) {
        *weight = importance * (sigma2 + x * x).sqrt();
    }
    weights
}

/// [`weigh`] for blocks, each with `factor` times its own mean square.
///
/// The sums of squares of all are made side by side: one alone waits for each of its additions.
#[inline(always)]
pub(in crate::ggml) fn weigh_blocks<const N: usize>(
    x: &[[f32; N]],
    importance: &[[f32; N]],
    factor: f32,
    weights: &mut [[f32; N]],
) {
    const ABREAST: usize = 8;
    let batches = x.chunks(ABREAST).zip(importance.chunks(ABREAST));
    for ((x, importance), weights) in batches.zip(weights.chunks_mut(ABREAST)) {
        let mut squares = [0.0f32; ABREAST];
        for i in 0..N {
            for (sum, x) in squares.iter_mut().zip(x) {
                *sum += x[i] * x[i];
            }
        }
        for (((x, importance), weights), squares) in
            x.iter().zip(importance).zip(weights).zip(squares)
        {
            let sigma2 = factor * squares / N as f32;
            for i in 0..N {
                weights[i] = importance[i] * (sigma2 + x[i] * x[i]).sqrt();
            }
        }
    }
}
