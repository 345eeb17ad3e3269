//! How long a step that has never run will take: from what it reads, writes and computes, as headers
//! tell, and from how fast this machine does that. A guess to plan by, no measurement.

mod probe;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::steps::{Quantizer, Work};

/// How fast a machine is, in things per second. What was not measured is `None` or missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    pub threads: usize,
    /// Bytes that one thread hashes.
    pub hash: f64,
    /// Bytes that reach the disk.
    pub write: Option<f64>,
    /// Bytes that all threads read from memory.
    pub memory: Option<f64>,
    /// Weights that one thread dequantizes.
    pub dequantize: f64,
    /// Weights that one thread quantizes.
    pub quantize: BTreeMap<Quantizer, f64>,
    /// Products of quantized weights that all threads compute, many tokens at a time.
    pub products: f64,
    /// The same of weights that are floats.
    pub float_products: f64,
}

/// How long a machine with these rates takes for `work`; `None` where a rate is not known that it
/// takes.
///
/// What is written goes through threads side by side, so the slowest counts: the disk, the hash, or
/// the processor, which does all but the disk's part.
fn time(work: &Work, rates: &Rates) -> Option<Duration> {
    let threads = rates.threads.max(1) as f64;
    let hash = seconds(work.hash, Some(rates.hash))?;
    // A disk that could not be tried is taken for one that keeps up.
    let write = rates.write.map_or(Some(0.0), |rate| seconds(work.write, Some(rate)))?;
    let mut computed = seconds(work.dequantize, Some(rates.dequantize))?;
    for (quantizer, weights) in &work.quantize {
        computed += seconds(*weights, rates.quantize.get(quantizer).copied())?;
    }
    let pass = write.max(hash).max((computed + hash) / threads);
    let read = seconds(work.read, rates.memory)?;
    let products = seconds(work.products, Some(rates.products))?
        + seconds(work.float_products, Some(rates.float_products))?;
    Duration::try_from_secs_f64(work.fixed.as_secs_f64() + pass + read + products).ok()
}

/// Nothing takes no time, whatever the rate.
fn seconds(amount: u64, rate: Option<f64>) -> Option<f64> {
    if amount == 0 {
        return Some(0.0);
    }
    rate.filter(|rate| *rate > 0.0).map(|rate| amount as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::GgmlType;

    fn rates() -> Rates {
        Rates {
            threads: 2,
            hash: 1e9,
            write: Some(5e8),
            memory: Some(1e10),
            dequantize: 1e9,
            quantize: [((GgmlType::Q4_K, false), 1e8)].into(),
            products: 1e11,
            float_products: 1e10,
        }
    }

    fn seconds_of(work: Work) -> Option<f64> {
        time(&work, &rates()).map(|time| time.as_secs_f64())
    }

    #[test]
    fn the_slowest_part_of_a_pass_counts() {
        let written = Work { hash: 2_000_000_000, write: 2_000_000_000, ..Work::default() };
        assert_eq!(seconds_of(written.clone()), Some(4.0), "the disk");
        assert_eq!(seconds_of(Work { write: 0, ..written.clone() }), Some(2.0), "the hash");
        let quantize = [((GgmlType::Q4_K, false), 1_000_000_000)].into();
        let work = Work { quantize, dequantize: 1_000_000_000, ..written };
        assert_eq!(seconds_of(work), Some(6.5), "the processor: 10 + 1 + 2 s on two threads");
    }

    #[test]
    fn what_comes_after_another_is_added() {
        let work = Work {
            read: 10_000_000_000,
            products: 200_000_000_000,
            float_products: 5_000_000_000,
            fixed: Duration::from_secs(4),
            ..Work::default()
        };
        assert_eq!(seconds_of(work), Some(7.5));
        assert_eq!(seconds_of(Work::default()), Some(0.0));
    }

    #[test]
    fn a_rate_that_is_not_known_gives_no_time() {
        let quantize = [((GgmlType::Q4_K, true), 1)].into();
        assert_eq!(seconds_of(Work { quantize, ..Work::default() }), None, "never measured");
        let read = Work { read: 1, ..Work::default() };
        assert_eq!(time(&read, &Rates { memory: None, ..rates() }), None);
        // A disk that cannot be tried is the exception: it is not what most steps wait for.
        let written = Work { hash: 1_000_000_000, write: 1_000_000_000, ..Work::default() };
        let rates = Rates { write: None, ..rates() };
        assert_eq!(time(&written, &rates), Some(Duration::from_secs(1)));
    }
}
