//! Times quantizers and dequantizers on one thread, as `scripts/bench_quantizers.py` asks it to.
//!
//! Arguments: a file of rows of 32-bit floats, their columns, and a file of as many floats that
//! weigh the columns. Every line of the input asks for one measurement, `quantize TYPE SET`,
//! `weighted TYPE SET` or `dequantize TYPE SET`; the answer is the number of seconds that one pass
//! over all rows took. `read` and `write` are answered with the seconds that it takes to do no more
//! than that with the floats, `sets` with the instruction sets of this processor.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, BufRead};
use std::time::Instant;

use qrun::ggml::{GgmlType, InstructionSet, dequantize_with, quantize_with};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [rows, columns, importance] = &arguments[..] else {
        println!(
            "nothing to time without ROWS COLUMNS IMPORTANCE; see scripts/bench_quantizers.py"
        );
        return Ok(());
    };
    let mut bench = Bench::new(floats(rows)?, columns.parse()?, floats(importance)?);
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["sets"] => {
                let names: Vec<_> = InstructionSet::available().iter().map(|s| s.name()).collect();
                println!("{}", names.join(" "));
            }
            ["read"] => println!("{:.9}", bench.read()),
            ["write"] => println!("{:.9}", bench.write()),
            [what, ty, set] => {
                println!("{:.9}", bench.time(what, ty.parse()?, find_set(set)?)?);
            }
            _ => return Err(format!("{line:?} asks for nothing that can be timed").into()),
        }
    }
    Ok(())
}

/// The rows, and memory for what comes of them. It is written before anything is timed: the first
/// write to a page makes the kernel find one, which takes longer than to dequantize it.
struct Bench {
    rows: Vec<f32>,
    columns: usize,
    importance: Vec<f32>,
    bytes: Vec<u8>,
    /// What `bytes` holds.
    held: Option<GgmlType>,
    back: Vec<f32>,
}

impl Bench {
    fn new(rows: Vec<f32>, columns: usize, importance: Vec<f32>) -> Self {
        let (bytes, back) = (vec![1; rows.len() * size_of::<f32>()], vec![1.0; rows.len()]);
        Self { rows, columns, importance, bytes, held: None, back }
    }

    /// Seconds that one pass over the rows takes.
    fn time(
        &mut self,
        what: &str,
        ty: GgmlType,
        set: InstructionSet,
    ) -> Result<f64, Box<dyn Error>> {
        let Self { rows, columns, importance, bytes, held, back } = self;
        let row_bytes =
            ty.row_bytes(*columns).ok_or("the columns are no whole number of blocks")?;
        let bytes = &mut bytes[..rows.len() / *columns * row_bytes];
        if what == "dequantize" {
            // Any rows do, and some take a thousand times as long to quantize.
            if held.replace(ty) != Some(ty) {
                quantize_with(set, ty, rows, *columns, Some(importance), bytes)?;
            }
            let start = Instant::now();
            dequantize_with(set, ty, bytes, back)?;
            return Ok(start.elapsed().as_secs_f64());
        }
        *held = Some(ty);
        let importance = (what == "weighted").then_some(&importance[..]);
        let start = Instant::now();
        quantize_with(set, ty, rows, *columns, importance, bytes)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds that it takes to read the rows, whatever is done with them.
    fn read(&self) -> f64 {
        let start = Instant::now();
        black_box(self.rows.iter().fold(0u32, |sum, x| sum.wrapping_add(x.to_bits())));
        start.elapsed().as_secs_f64()
    }

    /// Seconds that it takes to write as many floats.
    fn write(&mut self) -> f64 {
        let start = Instant::now();
        black_box(&mut self.back).fill(black_box(1.0));
        start.elapsed().as_secs_f64()
    }
}

fn find_set(name: &str) -> Result<InstructionSet, String> {
    let mut sets = InstructionSet::available().into_iter();
    sets.find(|set| set.name() == name).ok_or(format!("this processor has no {name}"))
}

fn floats(path: &str) -> io::Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}
