//! Parts of a tensor: whole rows where rows are short, parts of one row where a row is long, so
//! that no part is larger than memory allows.

use std::ops::Range;

use crate::ggml::StoredType;
use crate::gguf::TensorInfo;

/// Some rows of a tensor, or some columns of one row; in either case weights that lie side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Span {
    /// A whole tensor.
    pub fn whole(info: &TensorInfo) -> Self {
        Self { rows: 0..info.rows(), columns: 0..info.columns() }
    }

    /// Weights in it.
    pub fn weights(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Where its bytes are in a tensor of the type `ty` with rows of `columns` weights.
    pub fn bytes(&self, ty: StoredType, columns: usize) -> Range<usize> {
        let bytes = |weights: usize| weights / ty.block_size() * ty.block_bytes();
        let start = self.rows.start * bytes(columns) + bytes(self.columns.start);
        start..start + bytes(self.weights())
    }

    /// It in parts of at most `weights` weights, which is a multiple of every block's; in order. A
    /// row that is longer is a part of its own, unless `cut_rows` allows to cut it.
    pub fn split(self, weights: usize, cut_rows: bool) -> impl Iterator<Item = Self> + use<> {
        let Self { rows, columns } = self;
        // A tensor without weights has no rows.
        let width = columns.len().max(1);
        let tall = (weights / width).max(1);
        let wide = if cut_rows { weights } else { width };
        rows.clone().step_by(tall).flat_map(move |row| {
            let end = rows.end;
            let columns = columns.clone();
            columns.clone().step_by(wide).map(move |column| Self {
                rows: row..end.min(row + tall),
                columns: column..columns.end.min(column + wide),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::GgmlType;

    fn info(columns: u64, rows: u64) -> TensorInfo {
        TensorInfo::new("t", GgmlType::Q8_0, [columns, rows])
    }

    #[test]
    fn parts_follow_each_other_and_are_small() {
        for (columns, rows) in [(32, 1000), (256, 3), (1024, 1), (2560, 7)] {
            let info = info(columns, rows);
            for cut_rows in [true, false] {
                let parts: Vec<Span> = Span::whole(&info).split(512, cut_rows).collect();
                let mut end = 0;
                for part in &parts {
                    let bytes = part.bytes(info.ggml_type, info.columns());
                    assert_eq!(bytes.start, end);
                    end = bytes.end;
                    let whole_row = !cut_rows && part.rows.len() == 1;
                    assert!(part.weights() <= 512 || whole_row, "{part:?}");
                    assert!(part.rows.len() == 1 || part.columns == (0..info.columns()));
                }
                assert_eq!(end as u64, info.bytes());
            }
        }
    }
}
