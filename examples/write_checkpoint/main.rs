//! Writes a checkpoint of gpt-oss's shape with random weights, to try the flow of whole files on:
//!
//! ```text
//! cargo run --release --example write_checkpoint -- models/random-20b           # 13.76 GB
//! cargo run --release --example write_checkpoint -- models/random-1 --layers 1  # 2.8 GB
//! cargo run --release --example write_checkpoint -- models/empty-20b --holes    # no disk, to plan
//! ```
//!
//! Original layout (`config.json`, `dtypes.json`, `model.safetensors`); names, shapes, types and
//! scale of the weights are those of gpt-oss-20b, the weights are noise. The bytes depend on
//! `--seed` and `--layers` alone, not on the number of threads. `qrun` takes its vocabulary from
//! `--tokenizer o200k_harmony`.

mod layout;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::Parser;
use half::bf16;
use layout::{config_20b, header, tensors};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use safetensors::tensor::TensorInfo;
use serde_json::json;

/// Bytes that one thread makes and writes at a time.
const CHUNK: usize = 4 << 20;

/// Of 128 weights, how many have each of the eight magnitudes of MXFP4: as a normal distribution
/// falls on them when the largest of a block of 32 is near the largest code.
const MAGNITUDES: [usize; 8] = [10, 19, 18, 16, 21, 21, 15, 8];

/// Write a gpt-oss-20b-shaped checkpoint with random weights
#[derive(Parser)]
struct Args {
    /// Directory to write
    directory: PathBuf,
    /// Layers, 1 to 24; each has 0.48 GB
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..=24))]
    layers: u8,
    /// Number that the weights come from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Leave holes in place of the weights, all of them zero: for plans, which read none
    #[arg(long)]
    holes: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let bytes =
        write(&args.directory, &config_20b(args.layers), (!args.holes).then_some(args.seed))?;
    println!("wrote {bytes} bytes of model.safetensors to {}", args.directory.display());
    Ok(())
}

/// Writes the checkpoint that `config` asks for, without a seed with holes for weights; answers with
/// the length of its weights' file.
fn write(directory: &Path, config: &str, seed: Option<u64>) -> Result<u64, Box<dyn Error>> {
    let config_path = directory.join("config.json");
    if config_path.exists() {
        let message = format!("{} is there already; remove it first", config_path.display());
        return Err(message.into());
    }
    fs::create_dir_all(directory)?;
    let tensors = tensors(config)?;
    let bytes = write_weights(&directory.join("model.safetensors"), &tensors, seed)?;
    fs::write(directory.join("dtypes.json"), dtypes(&tensors))?;
    // Last, so that only a whole checkpoint has one.
    fs::write(config_path, config)?;
    Ok(bytes)
}

/// `dtypes.json`: the types by which the published checkpoint calls its tensors.
fn dtypes(tensors: &[(String, TensorInfo)]) -> String {
    let dtype = |name: &str| match name {
        _ if name.ends_with(".blocks") => "FP4",
        _ if name.ends_with(".scales") => "UE8",
        _ => "BF16",
    };
    let types: BTreeMap<&str, &str> = tensors.iter().map(|(n, _)| (&**n, dtype(n))).collect();
    format!("{:#}\n", json!(types))
}

/// Writes header and tensors, every chunk in its place by whichever thread has made it.
fn write_weights(
    path: &Path,
    tensors: &[(String, TensorInfo)],
    seed: Option<u64>,
) -> Result<u64, Box<dyn Error>> {
    let header = header(tensors)?;
    let start = header.len() as u64;
    let data_bytes = tensors.last().map_or(0, |(_, info)| info.data_offsets.1) as u64;

    let file = File::create_new(path)
        .map_err(|e| format!("{} is not replaced; remove it first: {e}", path.display()))?;
    file.set_len(start + data_bytes)?;
    file.write_all_at(&header, 0)?;
    let Some(seed) = seed else { return Ok(start + data_bytes) };
    let codes = codes();
    let chunks: Vec<(u64, &str, Range<usize>)> = (0..)
        .zip(tensors)
        .flat_map(|(number, (name, info))| {
            let (start, end) = info.data_offsets;
            let chunk = move |at| (number, name.as_str(), at..end.min(at + CHUNK));
            (start..end).step_by(CHUNK).map(chunk)
        })
        .collect();
    // One at a time from the list, so that the file is written nearly in order.
    chunks.into_par_iter().with_max_len(1).try_for_each_init(
        Vec::new,
        |buffer: &mut Vec<u8>, (tensor, name, range)| -> io::Result<()> {
            buffer.resize(range.len(), 0);
            // The stream of a chunk is its own, whoever makes it.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream((tensor << 40) | range.start as u64);
            fill(name, &codes, &mut rng, buffer);
            file.write_all_at(buffer, start + range.start as u64)
        },
    )?;
    file.sync_all()?;
    Ok(start + data_bytes)
}

/// Two random MXFP4 codes for every 16 random bits.
fn codes() -> Vec<u8> {
    let magnitudes = (0..8).flat_map(|code| std::iter::repeat_n(code, MAGNITUDES[code as usize]));
    let codes: Vec<u8> = magnitudes.flat_map(|code| [code, code | 8]).collect();
    (0..=u16::MAX)
        .map(|bits| codes[bits as usize & 0xff] | codes[bits as usize >> 8] << 4)
        .collect()
}

/// Fills `out`, a part of the tensor `name`, with weights of its kind.
fn fill(name: &str, codes: &[u8], rng: &mut ChaCha8Rng, out: &mut [u8]) {
    // Random bytes for this many bytes of `out` at a time.
    const STEP: usize = 4096;
    let mut random = [0; 4 * STEP];
    for out in out.chunks_mut(STEP) {
        if name.ends_with(".blocks") {
            rng.fill_bytes(&mut random[..2 * out.len()]);
            for (out, bits) in out.iter_mut().zip(random.as_chunks().0) {
                *out = codes[usize::from(u16::from_le_bytes(*bits))];
            }
        } else if name.ends_with(".scales") {
            // Exponents of 2^-9 to 2^-6, the middle ones more often.
            rng.fill_bytes(&mut random[..out.len()]);
            for (out, bits) in out.iter_mut().zip(&random) {
                *out = 118 + (bits & 1) + (bits >> 1 & 1) + (bits >> 2 & 1);
            }
        } else {
            let (mean, deviation) = distribution(name);
            rng.fill_bytes(&mut random[..4 * out.len()]);
            for (out, bits) in out.as_chunks_mut().0.iter_mut().zip(random.as_chunks().0) {
                *out = bf16::from_f32(mean + deviation * normal(u64::from_le_bytes(*bits)))
                    .to_le_bytes();
            }
        }
    }
}

/// Mean and standard deviation of the weights of a tensor.
fn distribution(name: &str) -> (f32, f32) {
    match name {
        _ if name.ends_with("norm.scale") => (1.0, 0.2),
        _ if name.ends_with("bias") => (0.0, 0.1),
        _ if name.ends_with("sinks") => (0.0, 1.0),
        _ if name.starts_with("embedding") => (0.0, 1.0),
        _ => (0.0, 0.02),
    }
}

/// Nearly normal: the sum of four uniform numbers.
fn normal(bits: u64) -> f32 {
    let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
    // Each has a variance of 2^32 / 12.
    (sum as f32 - 2.0 * 65535.0) / (65536.0 / 3f32.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8Path;
    use qrun::gguf::TensorSource;
    use qrun::steps::{ConvertDtype, TokenizerSource, open_checkpoint};

    /// Narrow, and with the vocabulary cut short where the built-in one ends.
    fn small() -> String {
        config_20b(2).replace("2880", "64").replace("201088", "200032")
    }

    #[test]
    fn the_20b_is_as_long_as_the_published_one() {
        let tensors = tensors(&config_20b(24)).unwrap();
        assert_eq!(tensors.len(), 363);
        let data_bytes = tensors.last().unwrap().1.data_offsets.1;
        assert_eq!(header(&tensors).unwrap().len() + data_bytes, 13_761_300_984);
    }

    #[test]
    fn the_bytes_are_those_of_the_seed_and_make_a_checkpoint() {
        let guard = tempfile::tempdir().unwrap();
        let written = |seed: u64, threads: usize| {
            let directory = guard.path().join(format!("{seed}-{threads}"));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let bytes = pool.install(|| write(&directory, &small(), Some(seed)).unwrap());
            let file = fs::read(directory.join("model.safetensors")).unwrap();
            assert_eq!(file.len() as u64, bytes);
            assert!(write(&directory, &small(), Some(seed)).is_err());
            (directory, file)
        };
        let (directory, first) = written(1, 1);
        assert!(first == written(1, 3).1);
        assert!(first != written(2, 3).1);

        let directory = Utf8Path::from_path(&directory).unwrap();
        let source =
            open_checkpoint(directory, &TokenizerSource::O200kHarmony, ConvertDtype::F32).unwrap();
        for (tensor, info) in source.tensors().iter().enumerate() {
            let mut row = vec![0; info.row_bytes()];
            source.read_rows(tensor, info.rows() - 1..info.rows(), &mut row).unwrap();
            assert!(row.iter().any(|&b| b != 0), "{} ends in zeros", info.name);
        }
    }

    #[test]
    fn weights_are_spread_as_said() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let values: Vec<f64> = (0..10_000).map(|_| f64::from(normal(rng.next_u64()))).collect();
        let mean = values.iter().sum::<f64>() / 1e4;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
        assert_eq!(MAGNITUDES.iter().sum::<usize>(), 128);
    }
}
