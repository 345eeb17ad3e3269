//! Text for people in the width that there is: what is longer is broken at spaces and goes on
//! indented, so that nothing is cut and columns stay columns. Knows nothing of what the text says.

use console::Term;
use textwrap::Options;

/// Columns that a text on standard output may take: those of the terminal, or `COLUMNS` where that
/// is set. None where a program reads it, which wants its lines whole.
pub fn stdout_width() -> Option<usize> {
    width(&Term::stdout())
}

/// The same of standard error.
pub fn stderr_width() -> Option<usize> {
    width(&Term::stderr())
}

fn width(term: &Term) -> Option<usize> {
    if term.is_term() {
        return Some(usize::from(term.size().1));
    }
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}

/// `text` with every line in at most `width` columns, if there are words to break it at.
pub fn fit(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut lines = text.split('\n').map(|line| fit_line(line, width));
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |all, line| all + "\n" + &line)
}

fn fit_line(line: &str, width: usize) -> String {
    if console::measure_text_width(line) <= width {
        return line.to_owned();
    }
    let indent = " ".repeat(indent(line, width));
    let options = Options::new(width)
        .subsequent_indent(&indent)
        // A path or a name stays whole as long as a line can hold it.
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    textwrap::wrap(line, options).join("\n")
}

/// Where a line goes on: below its last cell, if that begins in the left half, else a little deeper
/// than where the line begins.
fn indent(line: &str, width: usize) -> usize {
    let start = line.len() - line.trim_start().len();
    // Numbers at the right of their column are cells, too, so that gaps may be wide.
    let cell = line.trim_end().rfind("  ").map_or(0, |gap| gap + 2);
    let below = console::measure_text_width(&line[..cell.max(start)]);
    if cell > start && below <= width / 2 { below } else { (start + 4).min(width / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(text: &str, width: usize) -> String {
        fit(text, Some(width))
    }

    #[test]
    fn what_fits_and_what_a_program_reads_stays_as_it_is() {
        let text = "step       verdict  why\n\nverify     stale    never run\n";
        assert_eq!(fitted(text, 80), text);
        assert_eq!(fit(&"long ".repeat(100), None), "long ".repeat(100));
    }

    #[test]
    fn the_last_cell_goes_on_below_itself_or_indented() {
        assert_eq!(
            fitted("memory  18.5 GB for the largest step, 25.3 GB in this machine", 40),
            "memory  18.5 GB for the largest step,\n        25.3 GB in this machine"
        );
        assert_eq!(
            fitted("compare:a:stability  stale    0.1 s  never run; after quantize:a", 50),
            "compare:a:stability  stale    0.1 s  never run;\n    after quantize:a"
        );
        assert_eq!(fitted("  one two three", 9), "  one two\n    three");
    }

    #[test]
    fn no_line_is_wider_and_no_word_is_lost() {
        let text = "error: cannot write /some/very/long/path/to/a/file.gguf: \u{1b}[31mno\u{1b}[0m ü space";
        for width in 1..100 {
            let fitted = fitted(text, width);
            for line in fitted.lines() {
                assert!(console::measure_text_width(line) <= width, "{width}: {line}");
            }
            let all = |text: &str| text.replace([' ', '\n'], "");
            assert_eq!(all(&fitted), all(text), "{width}");
        }
    }
}
