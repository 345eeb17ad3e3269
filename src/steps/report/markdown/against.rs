//! The report's table of each candidate against each reference.

use std::collections::BTreeMap;

use super::super::document::Comparison;
use super::super::table::Table;
use super::{or_none, percent};
use crate::steps::CompareResult;

/// One row per candidate and reference.
pub fn render(comparisons: &[Comparison]) -> String {
    let mut table = Table::new(&[
        "name",
        "reference",
        ">size",
        ">p95",
        ">peak RSS",
        ">KL divergence",
        ">top token",
        ">greedy prefix",
        ">greedy share",
        ">weights' rel. RMSE",
        "worst tensor",
        "other types",
    ]);
    for c in comparisons {
        let compared = c.compared.as_ref();
        table.row(vec![
            c.name.clone(),
            c.reference.clone(),
            or_none(compared, |r| times(r.bytes as f64 / r.reference_bytes as f64)),
            or_none(c.p95_latency_ratio, |r| times(r.ratio)),
            or_none(c.peak_rss_ratio, times),
            or_none(c.kl_divergence, |kl| format!("{kl:.5}")),
            or_none(c.top_token_agreement, percent),
            or_none(compared, |r| format!("{} of {}", r.greedy.agreeing_prefix, r.greedy.tokens)),
            or_none(compared, |r| percent(r.greedy.share)),
            or_none(compared, |r| format!("{:.5}", r.tensor_error.relative_rmse)),
            or_none(compared, worst_tensor),
            or_none(compared, other_types),
        ]);
    }
    let mut text = table.render();
    text.push_str(
        "\nSize, p95 and peak RSS: times the reference's. Greedy prefix: tokens generated alike before \
         the first difference; greedy share: of the reference's tokens, those the file would choose \
         after the same text. Rel. RMSE: root mean square of the differences of all weights over \
         that of the reference's weights.\n\n",
    );
    text
}

/// The tensor that differs most.
fn worst_tensor(compared: &CompareResult) -> String {
    match compared.tensor_error.worst.first() {
        Some(worst) => format!("{} {:.5}", worst.name, worst.relative_rmse),
        None => "all identical".to_owned(),
    }
}

/// How many tensors have another type, by pair of types.
fn other_types(compared: &CompareResult) -> String {
    let mut counts = BTreeMap::new();
    for t in &compared.type_differences {
        *counts.entry(format!("{}, not {}", t.ggml_type, t.reference_type)).or_insert(0_usize) += 1;
    }
    let mut words: Vec<String> = counts.iter().map(|(t, n)| format!("{n} {t}")).collect();
    if !compared.unmatched.is_empty() {
        words.push(format!("{} tensors without a counterpart", compared.unmatched.len()));
    }
    if words.is_empty() { "none".to_owned() } else { words.join("; ") }
}

fn times(ratio: f64) -> String {
    format!("{ratio:.3}x")
}
