//! The plan as a graph, for Graphviz and for Mermaid.

use std::fmt::Write;

use super::View;

/// Colours by verdict, light enough for black text.
fn colour(word: &str) -> &'static str {
    match word {
        "fresh" => "#d5f0d5",
        "stale" => "#ffe2a8",
        "waits" => "#e4e4e4",
        _ => "#f7c6c6",
    }
}

/// The graph in the DOT language.
pub fn dot(view: &View) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = format!("digraph \"{}\" {{\n", quoted(&view.job));
    out.push_str("  rankdir=LR\n  node [shape=box style=\"rounded,filled\" fontname=\"sans\"]\n");
    for step in &view.steps {
        let word = step.verdict.word();
        let label = match step.why.first() {
            Some(why) => format!("{}\\n{}", quoted(&step.step), quoted(why)),
            None => quoted(&step.step),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  \"{}\" [label=\"{label}\" fillcolor=\"{}\"]",
            quoted(&step.step),
            colour(word)
        );
    }
    for step in &view.steps {
        for need in &step.needs {
            let _ = writeln!(out, "  \"{}\" -> \"{}\"", quoted(need), quoted(&step.step));
        }
    }
    out.push_str("}\n");
    out
}

/// The graph in Mermaid's language.
pub fn mermaid(view: &View) -> String {
    let quoted = |text: &str| text.replace('"', "#quot;");
    let number = |id: &str| view.steps.iter().position(|s| s.step == id);
    let mut out = "flowchart LR\n".to_owned();
    for (i, step) in view.steps.iter().enumerate() {
        let label = match step.why.first() {
            Some(why) => format!("{}<br/>{}", quoted(&step.step), quoted(why)),
            None => quoted(&step.step),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  s{i}[\"{label}\"]:::{}", step.verdict.word());
    }
    for (i, step) in view.steps.iter().enumerate() {
        for from in step.needs.iter().filter_map(|need| number(need)) {
            let _ = writeln!(out, "  s{from} --> s{i}");
        }
    }
    for word in ["fresh", "stale", "waits", "blocked"] {
        let _ = writeln!(out, "  classDef {word} fill:{}", colour(word));
    }
    out
}
