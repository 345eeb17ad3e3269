//! Chooses the next token from a row of logits.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; zero always takes the most likely token.
    pub temperature: f32,
    /// Only this many of the most likely tokens take part; zero: all.
    pub top_k: usize,
    /// Only the most likely tokens whose probabilities together reach this take part; 1: all.
    pub top_p: f32,
    /// The same seed gives the same choices, on every machine.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };
}

/// Chooses tokens one after the other.
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// Starts at the beginning of the seed's choices.
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, rng: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// The next token's number. `logits` is not empty and finite.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        let Sampling { temperature, top_k, top_p, .. } = self.sampling;
        if temperature <= 0.0 || top_k == 1 {
            return greedy(logits);
        }
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let by_logit =
            |&a: &u32, &b: &u32| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b));
        if top_k > 0 && top_k < order.len() {
            order.select_nth_unstable_by(top_k, by_logit);
            order.truncate(top_k);
        }
        order.sort_unstable_by(by_logit);
        let max = f64::from(logits[order[0] as usize]);
        let weights: Vec<f64> = order
            .iter()
            .map(|&t| ((f64::from(logits[t as usize]) - max) / f64::from(temperature)).exp())
            .collect();
        let kept = nucleus(&weights, f64::from(top_p));
        let total: f64 = weights[..kept].iter().sum();
        let mut point = self.rng.random::<f64>() * total;
        for (&token, weight) in order.iter().zip(&weights[..kept]) {
            point -= weight;
            if point < 0.0 {
                return token;
            }
        }
        order[kept - 1]
    }
}

/// How many of the descending weights it takes to reach `top_p` of their sum; at least one.
fn nucleus(weights: &[f64], top_p: f64) -> usize {
    if top_p >= 1.0 {
        return weights.len();
    }
    let limit = weights.iter().sum::<f64>() * top_p;
    let mut sum = 0.0;
    let reached = weights.iter().position(|w| {
        sum += w;
        sum >= limit
    });
    reached.map_or(weights.len(), |i| i + 1)
}

/// The token with the largest logit; the lowest number among equals.
pub fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = i;
        }
    }
    best as u32
}

/// The best token other than `token`: the one it has to be told apart from.
pub fn runner_up(logits: &[f32], token: u32) -> Option<u32> {
    let others = (0..logits.len() as u32).filter(|&t| t != token);
    others.reduce(|a, b| if logits[b as usize] > logits[a as usize] { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_lowest_among_equals() {
        assert_eq!(greedy(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(runner_up(&[1.0, 3.0, 3.0, 2.0], 1), Some(2));
        assert_eq!(runner_up(&[1.0, 3.0, 3.0, 3.0], 2), Some(1));
        assert_eq!(runner_up(&[1.0], 0), None);
        assert_eq!(Sampler::new(Sampling::GREEDY).choose(&[0.0, -1.0, 0.5]), 2);
    }

    fn frequencies(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.choose(logits) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let logits = [0.0, 2f32.ln(), 5f32.ln(), -1000.0];
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 7 };
        let found = frequencies(sampling, &logits);
        for (f, e) in found.iter().zip([0.125, 0.25, 0.625, 0.0]) {
            assert!((f - e).abs() < 0.02, "{found:?}");
        }
        let found = frequencies(Sampling { top_k: 2, ..sampling }, &logits);
        for (f, e) in found.iter().zip([0.0, 2.0 / 7.0, 5.0 / 7.0, 0.0]) {
            assert!((f - e).abs() < 0.02, "{found:?}");
        }
        assert_eq!(frequencies(Sampling { top_p: 0.6, ..sampling }, &logits)[1], 0.0);
        assert!(frequencies(Sampling { top_p: 0.63, ..sampling }, &logits)[1] > 0.2);
        assert!(frequencies(Sampling { temperature: 0.1, ..sampling }, &logits)[2] > 0.99);
    }

    #[test]
    fn a_seed_repeats() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let draw = |seed| {
            let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed };
            let mut sampler = Sampler::new(sampling);
            (0..20).map(|_| sampler.choose(&logits)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
