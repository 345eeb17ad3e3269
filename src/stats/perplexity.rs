//! Log-softmax and perplexity.
//!
//! Method: llama.cpp's `tools/perplexity`.

/// Writes the natural logarithms of the softmax of `logits` into `out`, which is as long.
pub fn log_softmax(logits: &[f32], out: &mut [f64]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = |l: f32| f64::from(l) - f64::from(max);
    let log_sum = logits.iter().map(|&l| shifted(l).exp()).sum::<f64>().ln();
    for (o, &l) in out.iter_mut().zip(logits) {
        *o = shifted(l) - log_sum;
    }
}

/// Negative log-likelihoods of tokens, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    tokens: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl Perplexity {
    /// Takes the log-probability that the model gave to the token that came.
    pub fn add(&mut self, log_probability: f64) {
        self.tokens += 1;
        self.sum -= log_probability;
        self.sum_of_squares += log_probability * log_probability;
    }

    /// Tokens taken.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// `exp` of the mean negative log-likelihood; `None` without tokens.
    pub fn value(&self) -> Option<f64> {
        (self.tokens > 0).then(|| (self.sum / self.tokens as f64).exp())
    }

    /// Standard error of [`Perplexity::value`]: that of the mean, carried through `exp`. `None`
    /// for fewer than two tokens.
    pub fn standard_error(&self) -> Option<f64> {
        let n = self.tokens as f64;
        let mean = self.sum / n;
        let variance = (self.sum_of_squares / n - mean * mean).max(0.0);
        (self.tokens > 1).then(|| (variance / (n - 1.0)).sqrt() * mean.exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_whatever_the_offset() {
        for offset in [0.0f32, 1000.0, -1000.0] {
            let mut out = [0.0; 3];
            log_softmax(&[offset, offset + 1.0, offset - 2.0], &mut out);
            let sum: f64 = out.iter().map(|l| l.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12);
            assert!((out[1] - out[0] - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_uniform_guess_among_n_has_perplexity_n() {
        let mut p = Perplexity::default();
        assert_eq!((p.value(), p.standard_error()), (None, None));
        p.add((0.125f64).ln());
        assert_eq!(p.standard_error(), None);
        p.add((0.125f64).ln());
        assert!((p.value().unwrap() - 8.0).abs() < 1e-12);
        assert!(p.standard_error().unwrap() < 1e-6);
    }

    #[test]
    fn the_error_is_that_of_the_mean() {
        let mut p = Perplexity::default();
        for nll in [1.0, 2.0, 3.0] {
            p.add(-nll);
        }
        let expected = (2.0 / 3.0 / 2.0f64).sqrt() * 2f64.exp();
        assert!((p.standard_error().unwrap() - expected).abs() < 1e-12);
    }
}
