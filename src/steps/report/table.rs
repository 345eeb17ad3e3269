//! Markdown tables whose columns line up, so that they also read well as plain text.

/// A table under construction.
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Per column: numbers stand right.
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; those that begin with `>` stand right, without it.
    pub fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|h| h.starts_with('>')).collect();
        let names = headings.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![names], right }
    }

    /// Appends a row of as many cells as there are headings.
    pub fn row(&mut self, cells: Vec<String>) {
        // A bar would end the cell, a line break the table.
        let safe = |c: String| c.replace('|', "\\|").replace(['\n', '\r'], " ");
        self.rows.push(cells.into_iter().map(safe).collect());
    }

    /// The table as Markdown, with a newline after each row.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|c| c.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            text.push('|');
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&self.right) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if right { (padding.as_str(), "") } else { ("", &*padding) };
                text.push_str(&format!(" {before}{cell}{after} |"));
            }
            text.push('\n');
            if number == 0 {
                text.push('|');
                for (&width, &right) in widths.iter().zip(&self.right) {
                    let (dashes, end) = ("-".repeat(width + 1), if right { ':' } else { '-' });
                    text.push_str(&format!("{dashes}{end}|"));
                }
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_bars_are_escaped() {
        let mut table = Table::new(&["name", ">ms"]);
        table.row(vec!["a|b\nc".to_owned(), "1.5".to_owned()]);
        table.row(vec!["é".to_owned(), "100.25".to_owned()]);
        let expected = "\
| name   |     ms |
|--------|-------:|
| a\\|b c |    1.5 |
| é      | 100.25 |
";
        assert_eq!(table.render(), expected);
    }
}
