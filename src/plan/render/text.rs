//! The plan as a table for a terminal.

use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;

use super::{StepView, View};

/// The table, what it adds up to, and what stands in the way.
pub fn text(view: &View) -> String {
    let mut out = String::new();
    let total = view.steps.len();
    let head = match view.to_run {
        0 => format!("{}: nothing to do, {total} steps are fresh", view.job),
        n => format!("{}: {n} of {total} steps to run", view.job),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{head}\n");
    let rows: Vec<[String; 5]> = view.steps.iter().flat_map(rows).collect();
    let header = ["step", "verdict", "writes", "last took", "why"].map(str::to_owned);
    let mut widths = header.each_ref().map(|h| h.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&header).chain(&rows) {
        let [step, verdict, writes, took, why] = row;
        let [a, b, c, d, _] = widths;
        let line = format!("{step:a$}  {verdict:b$}  {writes:>c$}  {took:>d$}  {why}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let demand = &view.demand;
    if view.to_run > 0 {
        let _ = writeln!(out);
        for disk in demand.disks.iter().filter(|d| d.needed_bytes > 0 || !d.exact) {
            let _ = writeln!(
                out,
                "disk    {} to write to {}, {} free{}",
                size(disk.needed_bytes),
                disk.directory,
                size(disk.free_bytes),
                if disk.exact { "" } else { " (some sizes are not known yet)" },
            );
        }
        let runs = || view.steps.iter().filter(|step| step.verdict.word() != "fresh");
        if let Some(time) = time(&view.steps) {
            let _ = writeln!(out, "time    {time}");
        }
        if let Some(ram) = runs().filter_map(|step| step.demand.ram_bytes).max() {
            let _ = writeln!(
                out,
                "memory  {} for the largest step, this {} has {}",
                size(ram),
                if demand.memory_limit.is_some() { "process" } else { "machine" },
                demand.host_ram
            );
        }
    }
    for change in &view.accepted {
        let _ = writeln!(out, "to accept: {change}");
    }
    for matrix in &view.imatrices {
        let _ = writeln!(out, "importance matrix {matrix}");
    }
    for reference in &view.missing_references {
        let _ = writeln!(out, "missing reference, left out: {reference}");
    }
    for (warning, steps) in warnings(view) {
        let _ = writeln!(out, "warning: {}: {warning}", shortened(&steps));
    }
    for problem in &demand.problems {
        let _ = writeln!(out, "cannot run here: {problem}");
    }
    for problem in demand.manifest_problems.iter().chain(&demand.input_problems) {
        let _ = writeln!(out, "cannot run: {problem}");
    }
    out
}

/// How long what runs will take, if that is known of all of it.
fn time(steps: &[StepView]) -> Option<String> {
    let (mut sure, mut at_most, mut estimated) = (0, 0, false);
    for step in steps.iter().filter(|step| step.verdict.word() != "fresh") {
        estimated |= step.demand.last_duration_ms.is_none();
        let time = step.demand.last_duration_ms.or(step.demand.estimated_duration_ms)?;
        *if step.demand.may_hold { &mut at_most } else { &mut sure } += time;
    }
    let in_words = if estimated { about } else { duration };
    let more = match at_most {
        0 => String::new(),
        ms => format!(", and up to {} more if what waits turns out to be stale", in_words(ms)),
    };
    Some(match estimated {
        true => format!("{}, by sizes and a trial of this machine{more}", about(sure)),
        false => format!("{} if it goes as last time{more}", duration(sure)),
    })
}

fn rows(step: &StepView) -> Vec<[String; 5]> {
    let mut why = step.why.clone();
    if why.is_empty() {
        why.push(String::new());
    }
    match (step.verdict.word(), shortened(&step.after)) {
        (_, after) if after.is_empty() => {}
        // What is fresh runs after nothing.
        ("fresh", _) => {}
        ("waits", after) => why = vec![format!("waits for {after}")],
        (_, after) => {
            if let Some(last) = why.last_mut() {
                last.push_str(&format!("; after {after}"));
            }
        }
    }
    let mut lines = why.into_iter();
    let first = [
        step.step.clone(),
        step.verdict.word().to_owned(),
        match step.demand.write_bytes.filter(|_| step.verdict.word() != "fresh") {
            None if step.demand.reflinks => "reflink".to_owned(),
            bytes => bytes.map_or(String::new(), size),
        },
        match (step.demand.last_duration_ms, step.demand.estimated_duration_ms) {
            (Some(ms), _) => duration(ms),
            (None, Some(ms)) => about(ms),
            (None, None) => String::new(),
        },
        lines.next().unwrap_or_default(),
    ];
    let more = lines.map(|line| [const { String::new() }; 4].into_iter().chain([line]));
    let more = more.map(|row| {
        let mut cells = [const { String::new() }; 5];
        for (cell, text) in cells.iter_mut().zip(row) {
            *cell = text;
        }
        cells
    });
    std::iter::once(first).chain(more).collect()
}

/// What steps will warn of, each warning once with all that give it.
fn warnings(view: &View) -> Vec<(&str, Vec<String>)> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for step in &view.steps {
        for warning in &step.demand.warnings {
            match all.iter_mut().find(|(known, _)| known == warning) {
                Some((_, steps)) => steps.push(step.step.clone()),
                None => all.push((warning, vec![step.step.clone()])),
            }
        }
    }
    all
}

/// The first three names, and how many more there are.
fn shortened(names: &[String]) -> String {
    match names {
        [a, b, c, rest @ ..] if !rest.is_empty() => {
            format!("{a}, {b}, {c} and {} more", rest.len())
        }
        _ => names.join(", "),
    }
}

/// A number of bytes, for people.
pub fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

/// A time in ms, for people.
pub fn duration(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or(0);
    if ms < 60_000 {
        return format!("{:.1} s", ms as f64 / 1e3);
    }
    humantime::format_duration(Duration::from_secs(ms / 1000)).to_string()
}

/// A time in ms that is only estimated, for people: no more digits than it is worth.
pub fn about(ms: i64) -> String {
    let seconds = u64::try_from(ms).unwrap_or(0).div_ceil(1000).max(1);
    match seconds {
        0..60 => format!("about {seconds} s"),
        60..3600 => format!("about {} min", seconds.div_ceil(60)),
        _ => format!("about {:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{StepDemand, Verdict};

    fn step(verdict: Verdict, ms: i64, may_hold: bool) -> StepView {
        let demand = StepDemand { last_duration_ms: Some(ms), may_hold, ..StepDemand::default() };
        StepView {
            step: String::new(),
            verdict,
            why: Vec::new(),
            needs: Vec::new(),
            after: Vec::new(),
            writes: None,
            demand,
        }
    }

    #[test]
    fn what_most_likely_holds_is_not_added_to_what_runs() {
        let stale = || step(Verdict::Stale { reasons: Vec::new() }, 2000, false);
        let waits = |may_hold| step(Verdict::WaitsFor { steps: Vec::new() }, 30_000, may_hold);
        let fresh = || step(Verdict::Fresh, 7_000_000, false);
        let said = |steps: &[StepView]| time(steps).unwrap();
        assert_eq!(said(&[stale(), fresh(), waits(false)]), "32.0 s if it goes as last time");
        assert_eq!(
            said(&[stale(), waits(true), fresh()]),
            "2.0 s if it goes as last time, and up to 30.0 s more if what waits turns out to be stale"
        );
        let estimated = |estimated_duration_ms| StepView {
            demand: StepDemand { estimated_duration_ms, ..StepDemand::default() },
            ..stale()
        };
        let never = estimated(None);
        assert_eq!(time(&[stale(), never.clone()]), None);
        let guessed = estimated(Some(178_000));
        let all = [stale(), guessed, waits(true)];
        assert_eq!(
            said(&all),
            "about 3 min, by sizes and a trial of this machine, and up to about 30 s more if what \
            waits turns out to be stale"
        );
        assert_eq!([0, 59_001, 5_400_000].map(about), ["about 1 s", "about 1 min", "about 1.5 h"]);
    }
}
