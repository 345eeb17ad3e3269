//! The report that people read.

mod against;
mod benchmarks;

use bytesize::ByteSize;

use super::assemble::file_name;
use super::document::{BenchDocument, Publishing};
use super::recommend;
use super::recommendation::Recommendation;
use super::results::Results;
use super::table::Table;
use crate::host::HostFacts;

/// What stands where nothing is known.
const NONE: &str = "-";

/// The whole report.
pub fn render(input: &Results<'_>, document: &BenchDocument, host: &HostFacts) -> String {
    let mut text = format!("# {}: candidates, benchmark, recommendation\n\n", input.spec.job);
    if let Some(recommendation) = &document.recommendation {
        text.push_str(&recommended(recommendation, input));
    }
    text.push_str("## Candidates and references\n\n");
    text.push_str(&benchmarks::candidates(document, input.quality_reference.as_deref()));
    text.push_str(&benchmarks::latencies(document));
    text.push_str(&problems(document));
    text.push_str(&warnings(document));
    text.push_str(&load_checks(input));
    if !document.comparisons.is_empty() {
        text.push_str("## Against the references\n\n");
        text.push_str(&against::render(&document.comparisons));
    }
    text.push_str(&files(document));
    text.push_str(&publishing(document));
    text.push_str(&made_from(document));
    text.push_str("## Host\n\n");
    text.push_str(&host_table(host));
    text.push_str(&format!("\n## Command\n\n```\n{}\n```\n", input.spec.command));
    text
}

fn recommended(r: &Recommendation, input: &Results<'_>) -> String {
    let mut text = format!("## Recommendation\n\n**{}**\n\n", r.reason);
    // What the sentence above says already is not said again.
    for judgement in r.judgements.iter().filter(|j| !r.reason.contains(&j.reason)) {
        text.push_str(&format!("- {}: {}\n", judgement.format, judgement.reason));
    }
    if text.ends_with(".\n") {
        text.push('\n');
    }
    let reference = match &input.quality_reference {
        Some(name) => format!("from `{name}`"),
        None => "from a quality reference (this job evaluates none)".to_owned(),
    };
    text.push_str(&format!(
        "The rule: a format is taken only if the 95% intervals (bootstrap) of its median and of its \
        p95 latency over the baseline's lie below 1, both gain at least {:.0}% (more where others \
        used the machine, or where two benchmarks of the same weights differ by more), its mean KL \
        divergence {reference} is at most {} times the baseline's plus {} nats, and its top-token \
        agreement is at most {} percentage points lower. Of several the lowest p95 is taken.\n\n",
        recommend::MIN_GAIN * 100.0,
        recommend::KL_RATIO,
        recommend::KL_SLACK,
        recommend::AGREEMENT_SLACK * 100.0,
    ));
    if !r.cautions.is_empty() {
        text.push_str("The machine was not quiet while it was measured:\n\n");
        for caution in &r.cautions {
            text.push_str(&format!("- {caution}\n"));
        }
        text.push('\n');
    }
    text
}

/// What failed, and what is not there.
fn problems(document: &BenchDocument) -> String {
    let mut text = String::new();
    for file in &document.results {
        for (step, why) in &file.failures {
            text.push_str(&format!("- `{step}` failed: {}\n", one_line(why)));
        }
    }
    for (name, path) in &document.missing_references {
        text.push_str(&format!(
            "- The reference `{name}` is optional and not there ({path}); nothing is compared with \
            it.\n"
        ));
    }
    if text.is_empty() { text } else { format!("## Failed or missing\n\n{text}\n") }
}

/// What the steps warned of; one line for a warning that several steps gave. What the recommendation
/// says already is not said again.
fn warnings(document: &BenchDocument) -> String {
    let cautions = document.recommendation.iter().flat_map(|r| &r.cautions);
    let said: Vec<&str> = cautions.map(String::as_str).collect();
    let mut steps_of: Vec<(&str, Vec<String>)> = Vec::new();
    for (step, warnings) in &document.warnings {
        let about = step.rsplit(':').next().unwrap_or(step);
        for warning in warnings.iter().filter(|w| !said.contains(&&*format!("{about}: {w}"))) {
            match steps_of.iter_mut().find(|(w, _)| w == warning) {
                Some((_, steps)) => steps.push(format!("`{step}`")),
                None => steps_of.push((warning, vec![format!("`{step}`")])),
            }
        }
    }
    if steps_of.is_empty() {
        return String::new();
    }
    let lines = steps_of
        .iter()
        .map(|(warning, steps)| format!("- {}: {}\n", steps.join(", "), one_line(warning)));
    format!("## Warnings\n\n{}\n", lines.collect::<String>())
}

/// Verdict and reason of every load check that ran.
fn load_checks(input: &Results<'_>) -> String {
    let mut table =
        Table::new(&["name", "verdict", ">checks", ">load_ms", "after the fixed prompt it writes"]);
    let mut any = false;
    for candidate in &input.candidates {
        let Some(loads) = candidate.loads() else { continue };
        any = true;
        let passed = candidate.load_check.as_ref().filter(|_| loads);
        table.row(vec![
            candidate.name.to_owned(),
            if loads { "passed" } else { "failed, see above" }.to_owned(),
            or_none(passed, |check| check.checks.len().to_string()),
            or_none(passed, |check| format!("{:.1}", check.load_ms)),
            or_none(passed, |check| format!("{:?}", check.sample)),
        ]);
    }
    if any { format!("## Load check\n\n{}\n", table.render()) } else { String::new() }
}

fn files(document: &BenchDocument) -> String {
    let mut table = Table::new(&["name", "file", "made (UTC)", "types", "SHA-256"]);
    for file in document.results.iter().chain(&document.references) {
        let (Some(name), Some(path)) = (&file.name, &file.gguf) else { continue };
        let types: Vec<_> = file.types.iter().map(|(t, n)| format!("{n} {t}")).collect();
        table.row(vec![
            name.clone(),
            file_name(path).to_owned(),
            file.made.as_ref().map_or("given", |made| &made.finished).to_owned(),
            if types.is_empty() { NONE.to_owned() } else { types.join(", ") },
            match file.parts.first() {
                Some(first) => first.sha256.clone(),
                None => file.sha256.clone().unwrap_or_else(|| NONE.to_owned()),
            },
        ]);
        for part in file.parts.iter().skip(1) {
            let [name, made, types] = [(); 3].map(|()| String::new());
            table.row(vec![
                name,
                file_name(&part.gguf).to_owned(),
                made,
                types,
                part.sha256.clone(),
            ]);
        }
    }
    format!("## Files\n\n{}\n", table.render())
}

/// What goes where; the report is there before it does.
fn publishing(document: &BenchDocument) -> String {
    let Some(Publishing { to, formats, left_out }) = &document.publish else {
        return String::new();
    };
    let mut text = match formats.is_empty() {
        true => "## Publishing\n\nNothing: every format is left out.\n".to_owned(),
        false => format!("## Publishing\n\nTo `{to}`: {}.\n", formats.join(", ")),
    };
    for (i, (format, why)) in left_out.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { "" });
        text.push_str(&format!("- {format} is left out: {why}.\n"));
    }
    text + "\n"
}

/// What it takes to make the same again: the program, and every file that went in.
fn made_from(document: &BenchDocument) -> String {
    let mut table = Table::new(&["what", "file", ">size", "SHA-256"]);
    for file in &document.made_from {
        table.row(vec![
            file.name.clone(),
            file.path.to_string(),
            or_none(file.bytes, size),
            file.sha256.clone().unwrap_or_else(|| "changed while the job ran".to_owned()),
        ]);
    }
    format!(
        "## Made from\n\n{}\nWritten {} by qrun {}.\n\n",
        table.render(),
        document.created,
        document.qrun_version
    )
}

fn host_table(host: &HostFacts) -> String {
    let mut table = Table::new(&["what", "value"]);
    let mut row = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    row("CPU", host.cpu_model.clone());
    row("cores", format!("{} ({} threads usable)", host.cores, host.threads));
    row("RAM", host.ram_in_words());
    row("instruction sets", host.features.join(" "));
    row("kernel", host.kernel.clone());
    row("governor", host.governor.clone().unwrap_or_else(|| "not shown by the kernel".to_owned()));
    row("load before the first benchmark", format!("{:.2}", host.load_1m));
    table.render()
}

fn or_none<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
