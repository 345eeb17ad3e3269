//! Kullback-Leibler divergence between two models' next-token distributions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distribution::quantile;

/// KL divergence of `q` from `p`, `Σ p ln(p / q)` in nats, from log-probabilities. Not negative but
/// for rounding.
pub fn kl_divergence(log_p: &[f64], log_q: &[f64]) -> f64 {
    let terms = log_p.iter().zip(log_q).map(|(&p, &q)| match p.exp() {
        // Zero times anything, by continuity.
        0.0 => 0.0,
        probability => probability * (p - q),
    });
    terms.sum()
}

/// Divergences of a candidate from a reference over many tokens.
#[derive(Clone, Debug, Default)]
pub struct Divergence {
    per_token: Vec<f64>,
    same_top: u64,
}

/// KL divergence per token, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KlSummary {
    pub mean: f64,
    pub median: f64,
    pub p99: f64,
    pub max: f64,
}

impl Divergence {
    /// Takes one token.
    pub fn add(&mut self, token: TokenDivergence) {
        self.per_token.push(token.kl);
        self.same_top += u64::from(token.same_top);
    }

    /// The divergences in numbers; `None` without tokens.
    pub fn summary(&self) -> Option<KlSummary> {
        let mut sorted = self.per_token.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let max = *sorted.last()?;
        // Summed in the order of the text, not of size: the order cannot depend on ties.
        let mean = self.per_token.iter().sum::<f64>() / sorted.len() as f64;
        Some(KlSummary { mean, median: quantile(&sorted, 0.5), p99: quantile(&sorted, 0.99), max })
    }

    /// Share of tokens, 0 to 1, for which both hold the same next token most likely; `None`
    /// without tokens.
    pub fn top_token_agreement(&self) -> Option<f64> {
        let tokens = self.per_token.len();
        (tokens > 0).then(|| self.same_top as f64 / tokens as f64)
    }
}

/// Two distributions of one token compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenDivergence {
    /// KL divergence, in nats.
    pub kl: f64,
    same_top: bool,
}

impl TokenDivergence {
    /// From log-probabilities.
    pub fn of(reference: &[f64], candidate: &[f64]) -> Self {
        let kl = kl_divergence(reference, candidate);
        Self { kl, same_top: top(reference) == top(candidate) }
    }
}

/// The most likely token; the lowest number among equals.
fn top(log_probabilities: &[f64]) -> usize {
    let mut best = 0;
    for (i, &l) in log_probabilities.iter().enumerate() {
        if l > log_probabilities[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs<const N: usize>(p: [f64; N]) -> [f64; N] {
        p.map(f64::ln)
    }

    #[test]
    fn a_known_divergence() {
        let (p, q) = (logs([0.5, 0.5]), logs([0.25, 0.75]));
        let expected = 0.5 * 2f64.ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((kl_divergence(&p, &q) - expected).abs() < 1e-12);
        assert_eq!(kl_divergence(&p, &p), 0.0);
    }

    #[test]
    fn what_cannot_happen_does_not_count() {
        assert_eq!(kl_divergence(&logs([0.0, 1.0]), &logs([0.0, 1.0])), 0.0);
    }

    #[test]
    fn many_tokens_in_numbers() {
        let mut d = Divergence::default();
        assert_eq!((d.summary(), d.top_token_agreement()), (None, None));
        let p = logs([0.6, 0.4]);
        d.add(TokenDivergence::of(&p, &p));
        d.add(TokenDivergence::of(&p, &logs([0.4, 0.6])));
        let summary = d.summary().unwrap();
        let kl = 0.2 * 1.5f64.ln();
        assert!((summary.max - kl).abs() < 1e-12, "{summary:?}");
        assert!((summary.mean - kl / 2.0).abs() < 1e-12);
        assert!((summary.median - kl / 2.0).abs() < 1e-12);
        assert_eq!(d.top_token_agreement(), Some(0.5));
    }
}
