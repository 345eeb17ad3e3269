//! Times quantizers and dequantizers on one thread, as `scripts/bench_quantizers.py` asks it to.
//!
//! Arguments: a file of rows of 32-bit floats, their columns, and a file of as many floats that
//! weigh the columns. Every line of the input asks for one measurement, `quantize TYPE SET`,
//! `weighted TYPE SET` or `dequantize TYPE SET`; the answer is the number of seconds that one pass
//! over all rows took. `sets` answers with the instruction sets of this processor.

use std::error::Error;
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
    let (rows, columns, importance) = (floats(rows)?, columns.parse()?, floats(importance)?);
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["sets"] => {
                let names: Vec<_> = InstructionSet::available().iter().map(|s| s.name()).collect();
                println!("{}", names.join(" "));
            }
            [what, ty, set] => {
                let (ty, set) = (ty.parse()?, find_set(set)?);
                println!("{:.9}", time(what, ty, set, &rows, columns, &importance)?);
            }
            _ => return Err(format!("{line:?} asks for nothing that can be timed").into()),
        }
    }
    Ok(())
}

/// Seconds that one pass over the rows takes.
fn time(
    what: &str,
    ty: GgmlType,
    set: InstructionSet,
    rows: &[f32],
    columns: usize,
    importance: &[f32],
) -> Result<f64, Box<dyn Error>> {
    let importance = (what == "weighted").then_some(importance);
    let row_bytes = ty.row_bytes(columns).ok_or("the columns are no whole number of blocks")?;
    let mut bytes = vec![0; rows.len() / columns * row_bytes];
    if what == "dequantize" {
        // Any rows do.
        let weights = vec![1.0; columns];
        quantize_with(set, ty, rows, columns, Some(&weights), &mut bytes)?;
        let mut back = vec![0.0; rows.len()];
        let start = Instant::now();
        dequantize_with(set, ty, &bytes, &mut back)?;
        return Ok(start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    quantize_with(set, ty, rows, columns, importance, &mut bytes)?;
    Ok(start.elapsed().as_secs_f64())
}

fn find_set(name: &str) -> Result<InstructionSet, String> {
    let mut sets = InstructionSet::available().into_iter();
    sets.find(|set| set.name() == name).ok_or(format!("this processor has no {name}"))
}

fn floats(path: &str) -> io::Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}
