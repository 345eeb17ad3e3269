//! How fast this machine is, tried for a moment: with the real hash, quantizers and products, on small
//! pieces. In all about half a second, of which memory takes most.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Quantizer, Rates};
use crate::compute::{Activations, Matrix, Product, SharedSlice, ThreadPool, multiply};
use crate::files;
use crate::ggml::{self, GgmlType};
use crate::host::bandwidth::glance;

/// How long one thing is tried at least.
const MOMENT: Duration = Duration::from_millis(15);
/// How long all quantizers are tried at most; those that are left are not known.
const QUANTIZERS: Duration = Duration::from_millis(400);
/// Weights of a row, and bytes to hash.
const COLUMNS: usize = 2048;
const HASHED: usize = 1 << 20;
/// Rows of a matrix to multiply, and tokens to multiply it with.
const ROWS: usize = 512;
const TOKENS: usize = 64;

/// What is to be tried.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    pub threads: usize,
    pub available_ram: u64,
    pub quantizers: BTreeSet<Quantizer>,
    /// A directory of the file system that is written to.
    pub directory: Option<&'a camino::Utf8Path>,
    pub memory: bool,
    pub products: bool,
    pub float_products: bool,
}

/// Tries it; leaves nothing behind. What cannot be tried is not known.
pub fn probe(wanted: &Wanted<'_>) -> Rates {
    let weights: Vec<f32> = (0..ROWS * COLUMNS).map(weight).collect();
    let products = |is_wanted: bool, ty| {
        is_wanted.then(|| products(ty, wanted.threads, &weights)).flatten().unwrap_or(0.0)
    };
    Rates {
        threads: wanted.threads,
        hash: hash(),
        write: wanted.directory.and_then(|directory| files::write_rate(directory).ok()),
        memory: wanted.memory.then(|| glance(wanted.threads, wanted.available_ram)).flatten(),
        dequantize: dequantize(&weights[..COLUMNS]).unwrap_or(0.0),
        quantize: quantizers(&wanted.quantizers, &weights[..COLUMNS]),
        products: products(wanted.products, GgmlType::Q8_0),
        float_products: products(wanted.float_products, GgmlType::F32),
    }
}

/// Weights as matrices have them: many small ones, few large ones, none like its neighbour.
fn weight(number: usize) -> f32 {
    let mixed = (number as u32).wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b);
    let uniform = mixed as f32 / u32::MAX as f32 * 2.0 - 1.0;
    uniform * uniform * uniform
}

/// Things per second, `things` of which `once` does, over and over for a moment.
fn rate(things: usize, mut once: impl FnMut()) -> f64 {
    let (start, mut done) = (Instant::now(), 0);
    loop {
        once();
        done += things;
        let elapsed = start.elapsed();
        if elapsed >= MOMENT {
            return done as f64 / elapsed.as_secs_f64();
        }
    }
}

fn hash() -> f64 {
    let bytes = vec![1u8; HASHED];
    rate(HASHED, || {
        black_box(Sha256::digest(&bytes));
    })
}

fn dequantize(weights: &[f32]) -> Option<f64> {
    let mut out = vec![0.0; weights.len()];
    let bytes = quantized(GgmlType::Q4_K, weights, None)?;
    Some(rate(weights.len(), || {
        black_box(ggml::dequantize(GgmlType::Q4_K, &bytes, &mut out).is_ok());
    }))
}

fn quantizers(wanted: &BTreeSet<Quantizer>, weights: &[f32]) -> BTreeMap<Quantizer, f64> {
    let importance = vec![1.0; weights.len()];
    let start = Instant::now();
    let mut rates = BTreeMap::new();
    for &(ty, weighed) in wanted {
        let importance = (weighed || ggml::needs_importance(ty)).then_some(importance.as_slice());
        // The first time makes tables, which a file needs but once.
        if start.elapsed() > QUANTIZERS || quantized(ty, weights, importance).is_none() {
            continue;
        }
        let found = rate(weights.len(), || {
            black_box(quantized(ty, weights, importance));
        });
        rates.insert((ty, weighed), found);
    }
    rates
}

/// One row.
fn quantized(ty: GgmlType, row: &[f32], importance: Option<&[f32]>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; ty.row_bytes(row.len())?];
    ggml::quantize(ty, row, row.len(), importance, &mut bytes).ok()?;
    Some(bytes)
}

fn products(ty: GgmlType, threads: usize, weights: &[f32]) -> Option<f64> {
    let pool = ThreadPool::new(threads).ok()?;
    let mut bytes = vec![0; ROWS * ty.row_bytes(COLUMNS)?];
    ggml::quantize(ty, weights, COLUMNS, None, &mut bytes).ok()?;
    let matrix = Matrix::new(ty, COLUMNS, ROWS, &bytes).ok()?;
    let inputs: Vec<u32> = (0..TOKENS as u32).collect();
    let mut activations = Activations::default();
    let mut out = vec![0.0; TOKENS * ROWS];
    Some(rate(TOKENS * ROWS * COLUMNS, || {
        activations.reset(TOKENS, COLUMNS).copy_from_slice(&weights[..TOKENS * COLUMNS]);
        let out = SharedSlice::new(&mut out);
        let product = Product { matrix, bias: None, gate: None, inputs: &inputs, out };
        multiply(&pool, false, &mut activations, &[product]);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_measured_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = camino::Utf8Path::from_path(directory.path()).unwrap();
        let quantizers = [(GgmlType::Q4_K, false), (GgmlType::IQ2_XXS, true)].into();
        let wanted = Wanted {
            threads: 2,
            quantizers,
            directory: Some(path),
            products: true,
            ..Wanted::default()
        };
        let rates = probe(&wanted);
        assert!(rates.hash > 0.0 && rates.dequantize > 0.0 && rates.products > 0.0, "{rates:?}");
        assert!(rates.quantize[&(GgmlType::Q4_K, false)] > 0.0, "{rates:?}");
        assert!(rates.write.is_some_and(|rate| rate > 0.0), "{rates:?}");
        assert_eq!((rates.memory, rates.float_products), (None, 0.0));
        let rates = probe(&Wanted { memory: true, float_products: true, ..wanted.clone() });
        assert!(rates.memory.is_some_and(|rate| rate > 0.0), "{rates:?}");
        assert!(rates.float_products > 0.0, "{rates:?}");
        assert_eq!(path.read_dir_utf8().unwrap().count(), 0, "it leaves nothing behind");
    }
}
