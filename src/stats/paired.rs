//! How two things measured in turns compare: the ratio of a typical pair, with a confidence interval
//! that one hiccup of the machine does not spoil.
//!
//! Method: Hodges and Lehmann's estimate on the logarithms of the ratios, with the exact interval
//! that inverts Wilcoxon's signed-rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical
//! Methods, 3rd edition, sections 3.1 to 3.3). It assumes that the logarithms scatter evenly to both
//! sides, which the random order of each pair makes true where there is no difference. A mean with
//! Student's t would assume a normal distribution, and times have hiccups to one side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::{CONFIDENCE_LEVEL, quantile};

/// Pairs below which no 95% interval exists.
pub const FEWEST_PAIRS: usize = 6;
/// Pairs at most: time and memory grow with their square and more.
pub const MOST_PAIRS: usize = 1000;

/// The ratio of the second of a pair over the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairedRatio {
    /// Pairs of runs.
    pub pairs: usize,
    /// The typical pair's: the Hodges-Lehmann estimate on logarithms.
    pub ratio: f64,
    /// Lower end of the 95% interval; `null` with fewer than 6 pairs, which have none.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// What a ratio says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The interval lies above one.
    More,
    /// The interval lies below one.
    Less,
    /// The interval holds one, or there is none.
    Unknown,
}

impl PairedRatio {
    /// Of pairs `(a, b)` the ratio b/a; `None` if there are none or more than [`MOST_PAIRS`], or one
    /// of their numbers is not positive and finite.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let usable = |x: f64| x.is_finite() && x > 0.0;
        let all_usable = pairs.iter().all(|&(a, b)| usable(a) && usable(b));
        if pairs.is_empty() || pairs.len() > MOST_PAIRS || !all_usable {
            return None;
        }
        let logs: Vec<f64> = pairs.iter().map(|(a, b)| (b / a).ln()).collect();
        // The mean of every two of them, each with itself too: Walsh's averages.
        let mut averages: Vec<f64> = logs
            .iter()
            .enumerate()
            .flat_map(|(i, x)| logs[i..].iter().map(move |y| f64::midpoint(*x, *y)))
            .collect();
        averages.sort_by(f64::total_cmp);
        let bound = rank(logs.len());
        Some(Self {
            pairs: pairs.len(),
            ratio: quantile(&averages, 0.5).exp(),
            low: bound.map(|r| averages[r - 1].exp()),
            high: bound.map(|r| averages[averages.len() - r].exp()),
        })
    }

    /// What it says.
    pub fn difference(&self) -> Difference {
        match (self.low, self.high) {
            (Some(low), _) if low > 1.0 => Difference::More,
            (_, Some(high)) if high < 1.0 => Difference::Less,
            _ => Difference::Unknown,
        }
    }
}

/// Rank of the interval's ends among the averages of `n` numbers, counted from either side: the
/// largest r for which the signed-rank statistic is below r with a probability of at most 2.5%.
fn rank(n: usize) -> Option<usize> {
    // probability[s]: that of the statistic to be s. Each rank is added or not, like a coin. Only
    // the lower half is kept; it never needs the upper one.
    let mut probability = vec![0.0; n * (n + 1) / 4 + 1];
    probability[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..probability.len()).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |rest| probability[rest]);
            probability[sum] = (probability[sum] + with) / 2.0;
        }
    }
    let tail = (1.0 - CONFIDENCE_LEVEL) / 2.0;
    let mut below = 0.0;
    let within = probability.iter().take_while(|p| {
        below += **p;
        below <= tail
    });
    Some(within.count()).filter(|r| *r > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_tables() {
        // Critical values of the two-sided test at 5%: n 6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 15: 25,
        // 20: 52, 25: 89. The rank is the one above.
        assert_eq!(rank(FEWEST_PAIRS - 1), None);
        for (n, critical) in [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (15, 25), (20, 52), (25, 89)]
        {
            assert_eq!(rank(n), Some(critical + 1), "{n}");
        }
    }

    fn times(factor: f64) -> Vec<(f64, f64)> {
        let drift = |i: i32| 100.0 * (1.0 + 0.1 * f64::from(i));
        let scatter = |i: i32| 1.0 + 0.002 * f64::from(i * 7 % 10 - 4);
        (0..10).map(|i| (drift(i), drift(i) * factor * scatter(i))).collect()
    }

    #[test]
    fn a_drift_of_the_machine_cancels_in_pairs() {
        let found = PairedRatio::of(&times(1.05)).unwrap();
        let (low, high) = (found.low.unwrap(), found.high.unwrap());
        assert!((found.ratio - 1.05).abs() < 0.003, "{found:?}");
        assert!(
            low > 1.045 && low < found.ratio && found.ratio < high && high < 1.057,
            "{found:?}"
        );
        assert_eq!(found.difference(), Difference::More);
        let inverse: Vec<_> = times(1.05).into_iter().map(|(a, b)| (b, a)).collect();
        assert_eq!(PairedRatio::of(&inverse).unwrap().difference(), Difference::Less);
    }

    #[test]
    fn one_hiccup_of_ten_moves_little() {
        let mut pairs = times(1.05);
        pairs[4].1 *= 5.0;
        let found = PairedRatio::of(&pairs).unwrap();
        assert!((found.ratio - 1.05).abs() < 0.005, "{found:?}");
        assert_eq!(found.difference(), Difference::More);
    }

    #[test]
    fn no_difference_is_told_of_the_same_or_of_few() {
        let same = PairedRatio::of(&times(1.0)).unwrap();
        assert_eq!(same.difference(), Difference::Unknown);
        let few = PairedRatio::of(&times(2.0)[..5]).unwrap();
        assert_eq!((few.low, few.high, few.difference()), (None, None, Difference::Unknown));
    }

    #[test]
    fn unusable_pairs_are_refused() {
        assert_eq!(PairedRatio::of(&[]), None);
        assert_eq!(PairedRatio::of(&[(1.0, 0.0)]), None);
        assert_eq!(PairedRatio::of(&[(f64::NAN, 1.0)]), None);
        assert_eq!(PairedRatio::of(&vec![(1.0, 1.0); MOST_PAIRS + 1]), None);
    }
}
