//! The results of benchmarks as tables.

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};

use crate::steps::{BenchResult, Measurements};

/// Columns that a file's name may take in a table.
const NAME: usize = 14;

// What stands over the numbers, in few enough columns for a terminal of 80.
const SPEED: [&str; 7] =
    ["file", "size", "first\ntoken ms", "p50 ms", "p95 ms", "prefill\ntok/s", "decode\ntok/s"];
const MEMORY: [&str; 6] =
    ["file", "load ms", "peak\nRSS MB", "minor\nfaults", "major\nfaults", "noise"];
const DECODING: [&str; 7] = [
    "file",
    "next token\np50 ms",
    "p95 ms",
    "p99 ms",
    "MB/token",
    "decode\nGB/s",
    "of read\nbandwidth",
];

/// The results: speed, memory and noise, then decoding more closely, and what the percentiles are
/// worth. Files whose names are too long for a table have numbers in it.
pub fn describe(results: &[BenchResult]) -> String {
    let mut text = String::new();
    let mut names: Vec<String> = results.iter().map(|result| result.gguf.to_string()).collect();
    if names.iter().any(|name| name.chars().count() > NAME) {
        for (number, name) in (1..).zip(&mut names) {
            text.push_str(&format!("{number}: {name}\n"));
            *name = number.to_string();
        }
        text.push('\n');
    }
    let results: Vec<(&str, &BenchResult)> = names.iter().map(|n| &**n).zip(results).collect();
    let (speed, memory) = (speed(&results).trim_fmt(), memory(&results).trim_fmt());
    text.push_str(&format!("{speed}\n\n{memory}\n"));
    if results.iter().any(|(_, r)| r.measured.inter_token_latency_ms.is_some()) {
        text.push_str(&format!("\n{}\n", decoding(&results).trim_fmt()));
    }
    if let Some((_, first)) = results.first() {
        let settings = first.measured.settings;
        text.push_str(&format!(
            "\n{} runs after {} warm-ups, {} prompt and {} generated tokens, {} threads.\n{}.\n",
            settings.runs,
            settings.warmups,
            settings.prompt_tokens,
            settings.generate_tokens,
            settings.threads,
            first.measured.latency_ms.confidence.p95.basis,
        ));
        if let Some(read) = first.measured.read_gb_per_s {
            text.push_str(&format!("The threads read {read:.1} GB/s from memory.\n"));
        }
    }
    text
}

fn speed(results: &[(&str, &BenchResult)]) -> Table {
    let rows = results.iter().map(|(name, result)| {
        let m = &result.measured;
        [
            (*name).to_owned(),
            ByteSize(result.bytes).display().si().to_string(),
            number(Some(m.time_to_first_token_ms.p50)),
            number(Some(m.latency_ms.p50)),
            number(Some(m.latency_ms.p95)),
            number(Some(m.prefill_tokens_per_s.p50)),
            number(m.decode_tokens_per_s.as_ref().map(|d| d.p50)),
        ]
    });
    table(SPEED, rows)
}

fn memory(results: &[(&str, &BenchResult)]) -> Table {
    let rows = results.iter().map(|(name, result)| {
        let m = &result.measured;
        [
            (*name).to_owned(),
            number(Some(m.load_ms)),
            number(m.peak_rss_mb),
            count(m.minor_faults),
            count(m.major_faults),
            if m.noise.quiet { "quiet" } else { "noisy" }.to_owned(),
        ]
    });
    table(MEMORY, rows)
}

fn decoding(results: &[(&str, &BenchResult)]) -> Table {
    let rows = results.iter().map(|(name, result)| {
        let m = &result.measured;
        let token = |of: fn(&Measurements) -> Option<f64>| number(of(m));
        [
            (*name).to_owned(),
            token(|m| Some(m.inter_token_latency_ms.as_ref()?.p50)),
            token(|m| Some(m.inter_token_latency_ms.as_ref()?.p95)),
            token(|m| Some(m.inter_token_latency_ms.as_ref()?.p99)),
            number(m.decode_bytes_per_token.map(|bytes| bytes as f64 / 1e6)),
            number(m.decode_gb_per_s),
            m.decode_bandwidth_share.map_or(none(), |share| format!("{:.0}%", share * 100.0)),
        ]
    });
    table(DECODING, rows)
}

/// A table whose columns but the first are numbers.
fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    for column in 1..N {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn number(value: Option<f64>) -> String {
    value.map_or(none(), |v| format!("{v:.2}"))
}

fn count(value: Option<u64>) -> String {
    value.map_or(none(), |v| v.to_string())
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_fits_80_columns() {
        let name = "x".repeat(NAME);
        // As large as they come: hours on a large model, millions of tokens on a small one.
        let row = |columns: usize| {
            let numbers = std::iter::repeat_n("1234567.89".to_owned(), 2)
                .chain(std::iter::repeat_n("12345.67".to_owned(), columns - 3));
            std::iter::once(name.clone()).chain(numbers)
        };
        fn fits<const N: usize>(header: [&str; N], row: impl Iterator<Item = String>) {
            let row: Vec<String> = row.collect();
            let row: [String; N] = row.try_into().unwrap();
            for line in table(header, std::iter::once(row)).trim_fmt().lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
        fits(SPEED, row(SPEED.len()));
        fits(MEMORY, row(MEMORY.len()));
        fits(DECODING, row(DECODING.len()));
    }
}
