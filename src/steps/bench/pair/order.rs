//! In which order the two files of each pair run.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The order of one pair of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PairOrder {
    /// The first file, then the second.
    #[serde(rename = "AB")]
    Ab,
    /// The second file, then the first.
    #[serde(rename = "BA")]
    Ba,
}

/// Orders of `pairs` pairs: as many of one kind as of the other (if they are odd in number, chance
/// decides which has one more), shuffled. So neither file gains by where it stands in a pair, nor by
/// anything on the machine that comes and goes in a rhythm.
pub fn shuffled(pairs: usize, seed: u64) -> Vec<PairOrder> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut orders: Vec<PairOrder> = [PairOrder::Ab, PairOrder::Ba]
        .into_iter()
        .cycle()
        .take(pairs.next_multiple_of(2))
        .collect();
    orders.shuffle(&mut rng);
    orders.truncate(pairs);
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_balanced_and_the_seed_decides_them() {
        for pairs in [0, 1, 2, 9, 10] {
            let orders = shuffled(pairs, 7);
            assert_eq!(orders.len(), pairs);
            let first = orders.iter().filter(|o| **o == PairOrder::Ab).count();
            assert!(first.abs_diff(pairs - first) <= 1, "{orders:?}");
            assert_eq!(orders, shuffled(pairs, 7));
        }
        let firsts: Vec<PairOrder> = (0..50).map(|seed| shuffled(9, seed)[0]).collect();
        assert!(firsts.contains(&PairOrder::Ab) && firsts.contains(&PairOrder::Ba));
    }
}
