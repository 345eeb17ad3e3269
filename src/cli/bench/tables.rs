//! The results of benchmarks as tables.

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};

use crate::steps::{BenchResult, Measurements};

/// The results: speed and memory, then decoding more closely, and what the percentiles are worth.
pub fn describe(results: &[BenchResult]) -> String {
    let mut text = format!("{}\n", whole_runs(results));
    if results.iter().any(|r| r.measured.inter_token_latency_ms.is_some()) {
        text.push_str(&format!("\n{}\n", decoding(results)));
    }
    if let Some(first) = results.first() {
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

fn whole_runs(results: &[BenchResult]) -> Table {
    let rows = results.iter().map(|result| {
        let m = &result.measured;
        [
            result.gguf.to_string(),
            ByteSize(result.bytes).display().si().to_string(),
            number(Some(m.load_ms)),
            number(Some(m.time_to_first_token_ms.p50)),
            number(Some(m.latency_ms.p50)),
            number(Some(m.latency_ms.p95)),
            number(Some(m.prefill_tokens_per_s.p50)),
            number(m.decode_tokens_per_s.as_ref().map(|d| d.p50)),
            number(m.peak_rss_mb),
            count(m.minor_faults),
            count(m.major_faults),
            if m.noise.quiet { "quiet" } else { "noisy" }.to_owned(),
        ]
    });
    table(
        [
            "file",
            "size",
            "load ms",
            "first token ms",
            "p50 ms",
            "p95 ms",
            "prefill tok/s",
            "decode tok/s",
            "peak RSS MB",
            "minor faults",
            "major",
            "noise",
        ],
        rows,
    )
}

fn decoding(results: &[BenchResult]) -> Table {
    let rows = results.iter().map(|result| {
        let m = &result.measured;
        let token = |of: fn(&Measurements) -> Option<f64>| number(of(m));
        [
            result.gguf.to_string(),
            token(|m| Some(m.inter_token_latency_ms.as_ref()?.p50)),
            token(|m| Some(m.inter_token_latency_ms.as_ref()?.p95)),
            token(|m| Some(m.inter_token_latency_ms.as_ref()?.p99)),
            number(m.decode_bytes_per_token.map(|bytes| bytes as f64 / 1e6)),
            number(m.decode_gb_per_s),
            m.decode_bandwidth_share.map_or(none(), |share| format!("{:.0}%", share * 100.0)),
        ]
    });
    let header = [
        "file",
        "next token p50 ms",
        "p95 ms",
        "p99 ms",
        "MB/token",
        "decode GB/s",
        "of read bandwidth",
    ];
    table(header, rows)
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
