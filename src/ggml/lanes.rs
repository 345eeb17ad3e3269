//! Float dot products in a fixed order, the same on every machine: sixteen partial sums side by
//! side, which vectorize, added pairwise at the end.

use super::le::F32Le;

const LANES: usize = 16;

/// Dot product of `row`, widened by `widen`, with `activations`, in single precision.
#[inline(always)]
pub(super) fn dot<T: Copy>(row: &[T], activations: &[F32Le], widen: impl Fn(T) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (rows, row_rest) = row.as_chunks::<LANES>();
    let (acts, act_rest) = activations.as_chunks::<LANES>();
    for (w, a) in rows.iter().zip(acts) {
        for lane in 0..LANES {
            sums[lane] += widen(w[lane]) * a[lane].get();
        }
    }
    for ((sum, &w), &a) in sums.iter_mut().zip(row_rest).zip(act_rest) {
        *sum += widen(w) * a.get();
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_every_element_of_any_length() {
        for n in 0..50usize {
            let row: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let ones = vec![F32Le::new(1.0); n];
            let expected = (n * n.saturating_sub(1) / 2) as f32;
            assert_eq!(dot(&row, &ones, |w| w), expected, "{n}");
        }
    }
}
