//! How two samples compare: the ratio of a quantile with a bootstrap confidence interval, to say
//! whether a difference is more than the noise.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::{CONFIDENCE_LEVEL, quantile};

/// Resamples of the bootstrap: the interval's ends then vary by about 1% of its width.
const RESAMPLES: usize = 10_000;
/// Fixed, so that the same samples always give the same interval.
const SEED: u64 = 0x7172_756e;

/// A quantile of one sample over the same quantile of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Below 1: the first sample is the smaller one.
    pub ratio: f64,
    /// Lower end of the 95% percentile-bootstrap interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Ratio {
    /// `quantile(a, q) / quantile(b, q)`; `None` if either is empty or not all positive and finite.
    ///
    /// Both samples are resampled independently. It sees the noise inside the samples only: a drift
    /// of the machine between them is not in the interval, and for an extreme quantile of few
    /// samples the interval is narrower than the truth.
    pub fn of(a: &[f64], b: &[f64], q: f64) -> Option<Self> {
        let usable = |s: &[f64]| !s.is_empty() && s.iter().all(|x| x.is_finite() && *x > 0.0);
        if !usable(a) || !usable(b) {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let (mut from_a, mut from_b) = (a.to_vec(), b.to_vec());
        let mut ratios: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                resample(a, &mut from_a, &mut rng);
                resample(b, &mut from_b, &mut rng);
                quantile(&from_a, q) / quantile(&from_b, q)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let tail = (1.0 - CONFIDENCE_LEVEL) / 2.0;
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        a.sort_by(f64::total_cmp);
        b.sort_by(f64::total_cmp);
        Some(Self {
            ratio: quantile(&a, q) / quantile(&b, q),
            low: quantile(&ratios, tail),
            high: quantile(&ratios, 1.0 - tail),
        })
    }
}

/// Fills `out` with a sorted draw, with replacement, from `sample`.
fn resample(sample: &[f64], out: &mut [f64], rng: &mut ChaCha8Rng) {
    for slot in out.iter_mut() {
        *slot = sample[rng.random_range(0..sample.len())];
    }
    out.sort_by(f64::total_cmp);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(centre: f64) -> Vec<f64> {
        (0..10).map(|i| centre * (1.0 + 0.004 * (i as f64 - 4.5))).collect()
    }

    #[test]
    fn a_clear_difference_has_an_interval_away_from_one() {
        let r = Ratio::of(&around(80.0), &around(100.0), 0.5).unwrap();
        assert!((r.ratio - 0.8).abs() < 1e-9);
        assert!(r.low > 0.77 && r.low < r.ratio && r.high > r.ratio && r.high < 0.83, "{r:?}");
    }

    #[test]
    fn equal_samples_straddle_one() {
        let r = Ratio::of(&around(100.0), &around(100.0), 0.95).unwrap();
        assert!(r.low < 1.0 && r.high > 1.0 && r.ratio == 1.0, "{r:?}");
    }

    #[test]
    fn the_same_samples_give_the_same_interval() {
        let (a, b) = (around(97.0), around(100.0));
        assert_eq!(Ratio::of(&a, &b, 0.95), Ratio::of(&a, &b, 0.95));
    }

    #[test]
    fn unusable_samples_are_refused() {
        assert_eq!(Ratio::of(&[], &[1.0], 0.5), None);
        assert_eq!(Ratio::of(&[1.0], &[0.0], 0.5), None);
        assert_eq!(Ratio::of(&[f64::INFINITY], &[1.0], 0.5), None);
    }
}
