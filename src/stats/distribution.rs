//! Percentiles of a sample with what they are worth: how many samples stand behind them and a
//! confidence interval that assumes no shape of the distribution.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Confidence of every interval here.
pub const CONFIDENCE_LEVEL: f64 = 0.95;

/// A sample in numbers; the unit is in the name of the field that holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Samples.
    pub n: usize,
    pub mean: f64,
    /// Standard deviation with `n - 1`; `null` for a single sample.
    pub stddev: Option<f64>,
    pub min: f64,
    pub max: f64,
    /// Median. Percentiles interpolate linearly between the two nearest order statistics
    /// (Hyndman and Fan's type 7, what numpy and R do unless told otherwise).
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    /// What each percentile is worth.
    pub confidence: Confidence,
}

/// What each percentile of a [`Distribution`] is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Confidence {
    pub p50: Interval,
    pub p90: Interval,
    pub p95: Interval,
    pub p99: Interval,
}

/// A 95% confidence interval of a percentile, from order statistics and the binomial distribution.
///
/// It assumes independent samples and nothing else. A bound that no order statistic can give is
/// `null`: that side is open, however small the spread of the sample looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower bound; at most 2.5% that the true percentile lies below.
    pub low: Option<f64>,
    /// Upper bound; at most 2.5% that the true percentile lies above.
    pub high: Option<f64>,
    /// What stands behind the percentile, in words.
    pub basis: String,
}

impl Distribution {
    /// Describes `samples`, in any order; `None` if there are none or one is not finite.
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares = sorted.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        Some(Self {
            n,
            mean,
            stddev: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
            min: sorted[0],
            max: sorted[n - 1],
            p50: quantile(&sorted, 0.50),
            p90: quantile(&sorted, 0.90),
            p95: quantile(&sorted, 0.95),
            p99: quantile(&sorted, 0.99),
            confidence: Confidence {
                p50: interval(&sorted, 0.50),
                p90: interval(&sorted, 0.90),
                p95: interval(&sorted, 0.95),
                p99: interval(&sorted, 0.99),
            },
        })
    }

    /// Standard deviation over mean; `None` where either is missing or zero.
    pub fn coefficient_of_variation(&self) -> Option<f64> {
        self.stddev.filter(|_| self.mean != 0.0).map(|s| s / self.mean)
    }
}

/// The quantile `q` of ascending, non-empty `sorted`: linear between order statistics (type 7).
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// The distribution-free interval of the quantile `q`.
///
/// The number of samples below the true quantile is binomial(n, q), so the r-th smallest lies above
/// it with probability P(B < r).
fn interval(sorted: &[f64], q: f64) -> Interval {
    let n = sorted.len();
    let tail = (1.0 - CONFIDENCE_LEVEL) / 2.0;
    let cdf = binomial_cdf(n, q);
    // Lower: the largest rank r with P(B <= r - 1) <= tail.
    let low = (1..=n).rev().find(|&r| cdf[r - 1] <= tail);
    // Upper: the smallest rank r with P(B >= r) = 1 - P(B <= r - 1) <= tail.
    let high = (1..=n).find(|&r| 1.0 - cdf[r - 1] <= tail);
    Interval {
        low: low.map(|r| sorted[r - 1]),
        high: high.map(|r| sorted[r - 1]),
        basis: basis(n, q, low, high),
    }
}

/// P(B <= k) for k in 0..n, B binomial(n, q), 0 < q < 1.
fn binomial_cdf(n: usize, q: f64) -> Vec<f64> {
    let odds = (q / (1.0 - q)).ln();
    let mut log_pmf = n as f64 * (1.0 - q).ln();
    let mut sum = 0.0;
    let mut cdf = Vec::with_capacity(n);
    for k in 0..n {
        sum += log_pmf.exp();
        cdf.push(sum);
        log_pmf += ((n - k) as f64 / (k + 1) as f64).ln() + odds;
    }
    cdf
}

/// What stands behind the quantile `q` of `n` samples; `low` and `high` are the bounds' ranks.
fn basis(n: usize, q: f64, low: Option<usize>, high: Option<usize>) -> String {
    if n == 1 {
        return "the only sample; nothing is known of its spread".to_owned();
    }
    let below = (q * (n - 1) as f64).floor() as usize + 1;
    let exact = q * (n - 1) as f64 == (below - 1) as f64;
    let percentile = format!("p{:.0}", q * 100.0);
    let place = if exact {
        format!("{percentile} of {n} samples is the {}", ordinal(below))
    } else {
        format!(
            "{percentile} of {n} samples is interpolated between the {} and the {}",
            ordinal(below),
            ordinal(below + 1)
        )
    };
    let tail = (1.0 - CONFIDENCE_LEVEL) / 2.0;
    match (low, high) {
        (Some(low), Some(high)) => {
            format!("{place}; 95% confidence from the {} to the {}", ordinal(low), ordinal(high))
        }
        (_, None) => {
            let needed = (tail.ln() / q.ln()).ceil();
            let beyond = q.powf(n as f64) * 100.0;
            let open = if low.is_none() { "no interval" } else { "no upper bound" };
            format!(
                "{place}; {open} at 95% confidence: {needed:.0} samples or more are needed, and the largest of \
                 {n} still lies below the true {percentile} in {beyond:.0}% of all cases"
            )
        }
        (None, Some(_)) => {
            let needed = (tail.ln() / (1.0 - q).ln()).ceil();
            format!(
                "{place}; no lower bound at 95% confidence: {needed:.0} samples or more are needed"
            )
        }
    }
}

/// `1st`, `2nd`, `3rd`, `11th`, ...
fn ordinal(n: usize) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upto(n: usize) -> Vec<f64> {
        (1..=n).map(|x| x as f64).collect()
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([3, 1, 2, 10], [50, 90, 95, 99])
        let d = Distribution::of(&[3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((d.n, d.min, d.max, d.mean), (4, 1.0, 10.0, 4.0));
        for (found, expected) in
            [(d.p50, 2.5), (d.p90, 7.9), (d.p95, 8.95), (d.p99, 9.79), (d.stddev.unwrap(), 4.0825)]
        {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn p95_of_ten_is_labelled_as_what_it_is() {
        let d = Distribution::of(&upto(10)).unwrap();
        let p95 = d.confidence.p95;
        // P(B <= 7) = 0.0115 <= 0.025 < P(B <= 8), B binomial(10, 0.95)
        assert_eq!((p95.low, p95.high), (Some(8.0), None));
        assert_eq!(
            p95.basis,
            "p95 of 10 samples is interpolated between the 9th and the 10th; no upper bound at 95% confidence: \
             72 samples or more are needed, and the largest of 10 still lies below the true p95 in \
             60% of all cases"
        );
        // scipy.stats.binom(10, 0.5): P(B <= 1) = 0.0107, P(B >= 9) = 0.0107
        assert_eq!((d.confidence.p50.low, d.confidence.p50.high), (Some(2.0), Some(9.0)));
    }

    #[test]
    fn the_upper_bound_of_p95_appears_at_72_samples() {
        assert_eq!(Distribution::of(&upto(71)).unwrap().confidence.p95.high, None);
        assert_eq!(Distribution::of(&upto(72)).unwrap().confidence.p95.high, Some(72.0));
    }

    #[test]
    fn a_median_of_five_has_no_interval_and_of_six_the_whole_range() {
        let five = Distribution::of(&upto(5)).unwrap().confidence.p50;
        assert_eq!((five.low, five.high), (None, None));
        let six = Distribution::of(&upto(6)).unwrap().confidence.p50;
        assert_eq!((six.low, six.high), (Some(1.0), Some(6.0)));
    }

    #[test]
    fn a_large_sample_does_not_underflow() {
        // 1.96 * sqrt(0.25 / n) = 0.98% of the ranks around the middle
        let d = Distribution::of(&upto(10_000)).unwrap();
        let (low, high) = (d.confidence.p50.low.unwrap(), d.confidence.p50.high.unwrap());
        assert!((4902.0 - low).abs() <= 2.0 && (high - 5099.0).abs() <= 2.0, "{low} {high}");
        assert!(d.confidence.p99.high.is_some());
    }

    #[test]
    fn nothing_is_made_of_nothing_or_of_nan() {
        assert_eq!(Distribution::of(&[]), None);
        assert_eq!(Distribution::of(&[1.0, f64::NAN]), None);
        let one = Distribution::of(&[7.0]).unwrap();
        assert_eq!((one.p50, one.p99, one.stddev), (7.0, 7.0, None));
        assert!(one.confidence.p95.basis.contains("only sample"));
    }
}
