//! The report's tables of what was measured of each file.

use super::super::document::{BenchDocument, FileResult, Role};
use super::super::table::Table;
use super::{NONE, or_none, percent, size};
use crate::steps::{Measurements, SpecialTokens};

/// What is known of each file.
pub fn candidates(document: &BenchDocument, quality_reference: Option<&str>) -> String {
    let mut table = Table::new(&[
        "name",
        "role",
        ">size",
        ">bits/weight",
        ">p95_ms",
        ">peak_rss_mb",
        ">decode tok/s",
        ">KL divergence",
        ">top token",
        ">perplexity",
        "state",
    ]);
    for file in document.results.iter().chain(&document.references) {
        let measured = file.measured.as_ref();
        let distance = document.comparisons.iter().find(|c| {
            file.name.as_ref() == Some(&c.name) && quality_reference == Some(&c.reference)
        });
        table.row(vec![
            file.name.clone().unwrap_or_else(|| NONE.to_owned()),
            role(file.role).to_owned(),
            or_none(file.bytes, size),
            or_none(file.bits_per_weight, |b| format!("{b:.3}")),
            or_none(measured, |m| format!("{:.2}", m.latency_ms.p95)),
            or_none(measured.and_then(|m| m.peak_rss_mb), |mb| format!("{mb:.1}")),
            or_none(measured.and_then(|m| m.decode_tokens_per_s.as_ref()), |d| {
                format!("{:.2}", d.p50)
            }),
            or_none(distance.and_then(|c| c.kl_divergence), |kl| format!("{kl:.5}")),
            or_none(distance.and_then(|c| c.top_token_agreement), percent),
            or_none(file.perplexity, |p| format!("{p:.4}")),
            state(file),
        ]);
    }
    let mut text = table.render();
    text.push_str(
        "\np95_ms: latency of a whole run, prompt and generation. peak_rss_mb: largest resident set, \
         pages of the mapped file included; 1 MB is 1000000 bytes. decode tok/s: median.",
    );
    let evaluated = document.results.iter().find_map(|f| Some((f.evaluated_tokens?, f)));
    if let (Some(name), Some((tokens, file))) = (quality_reference, evaluated) {
        let special = match file.special_tokens {
            Some(SpecialTokens::Literal) => ", special tokens read as text",
            _ => "",
        };
        text.push_str(&format!(
            " KL divergence (mean, nats per token), top token (share of tokens where both find the \
             same one the most likely): from `{name}` over {tokens} tokens{special}."
        ));
    }
    text.push_str("\n\n");
    text
}

/// What the percentiles are percentiles of, and what they are worth.
pub fn latencies(document: &BenchDocument) -> String {
    let mut files = document.results.iter().chain(&document.references);
    let Some(m) = files.find_map(|f| f.measured.as_ref()) else {
        return String::new();
    };
    let s = m.settings;
    let mut text = format!(
        "Each file in a process of its own: {} warm-ups, then {} runs of {} prompt tokens and {} \
         generated tokens, {} threads. {}.\n\n",
        s.warmups,
        s.runs,
        s.prompt_tokens,
        s.generate_tokens,
        s.threads,
        m.latency_ms.confidence.p95.basis,
    );
    let mut table = Table::new(&[
        "latency of",
        ">p50_ms",
        ">95% interval",
        ">p95_ms",
        ">95% interval",
        ">p99_ms",
        ">first token p50_ms",
        ">inter-token p50_ms",
        ">inter-token p95_ms",
        ">prefill tok/s",
    ]);
    for file in document.results.iter().chain(&document.references) {
        let (Some(name), Some(m)) = (&file.name, &file.measured) else { continue };
        let latency = &m.latency_ms;
        let between = m.inter_token_latency_ms.as_ref();
        table.row(vec![
            name.clone(),
            format!("{:.2}", latency.p50),
            interval(latency.confidence.p50.low, latency.confidence.p50.high),
            format!("{:.2}", latency.p95),
            interval(latency.confidence.p95.low, latency.confidence.p95.high),
            format!("{:.2}", latency.p99),
            format!("{:.2}", m.time_to_first_token_ms.p50),
            or_none(between, |d| format!("{:.2}", d.p50)),
            or_none(between, |d| format!("{:.2}", d.p95)),
            format!("{:.2}", m.prefill_tokens_per_s.p50),
        ]);
    }
    text.push_str(&table.render());
    text.push_str(
        "\n\"open\": no number of this few samples bounds the percentile on that side.\n\n",
    );
    text
}

fn role(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Baseline) => "baseline",
        Some(Role::Candidate) => "candidate",
        Some(Role::Reference) => "reference",
        None => NONE,
    }
}

fn state(file: &FileResult) -> String {
    if let Some(step) = file.failures.keys().next() {
        return format!("{step} failed");
    }
    let benched: Option<&Measurements> = file.measured.as_ref();
    match (file.loads, benched) {
        (Some(true), Some(_)) => "loads, benchmarked",
        (Some(true), None) => "loads, not benchmarked",
        (_, Some(_)) => "benchmarked",
        _ if file.role == Some(Role::Reference) => "not benchmarked",
        _ => "not done",
    }
    .to_owned()
}

fn interval(low: Option<f64>, high: Option<f64>) -> String {
    let bound = |b: Option<f64>| b.map_or_else(|| "open".to_owned(), |x| format!("{x:.2}"));
    format!("{} to {}", bound(low), bound(high))
}
