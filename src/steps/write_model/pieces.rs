//! The pieces that tensors are written in: what is to be made next, in the order of the files and no
//! faster than buffers come free, and what of the source is behind the last of them. Knows nothing of
//! how pieces are made or written.

use std::ops::Range;
use std::sync::mpsc::Receiver;

use super::pass::Pass;
use crate::ggml::StoredType;
use crate::gguf::TensorInfo;

/// Weights of a piece: large enough to write at once, small enough to have several for each thread.
const PIECE: usize = 1 << 20;

/// Bytes that are forgotten at once. The page cache keeps files in pieces of up to some megabytes, and
/// only whole ones are forgotten: runs of 512 KiB left nearly all.
const FORGOTTEN: usize = 32 << 20;

/// Some rows of a tensor, or, where a row is too long, some columns of one; in either case weights that
/// lie side by side.
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

    /// It in spans of at most `weights` weights, which is a multiple of every block's; in order. A row
    /// that is longer is a span of its own, unless `cut_rows` allows to cut it.
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

/// What one thread makes of a tensor, and what is written in one go.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Number of the tensor in the pass.
    pub tensor: usize,
    pub span: Span,
    /// Whether it ends the tensor.
    pub last: bool,
}

/// Byte buffers, one for each type that a piece is made in. They go round: there are as many sets as
/// may be in memory at a time.
pub type Buffers = Vec<Vec<u8>>;

/// The pieces of a tensor: at least one, so that one without weights is written and accounted for too.
fn pieces(pass: &Pass<'_>, tensor: usize) -> impl Iterator<Item = Piece> + use<> {
    let whole = Span::whole(pass.from(tensor));
    let end = (whole.rows.end, whole.columns.end);
    let empty = (whole.weights() == 0).then(|| whole.clone());
    let spans = whole.split(PIECE, pass.can_cut_rows(tensor));
    empty.into_iter().chain(spans).map(move |span| {
        let last = (span.rows.end, span.columns.end) == end;
        Piece { tensor, span, last }
    })
}

/// Bytes of the largest piece, in all types that it is wanted in.
pub fn largest_piece(pass: &Pass<'_>) -> usize {
    let bytes = |tensor: usize| {
        // None is larger than the first.
        let span = pieces(pass, tensor).next()?.span;
        let columns = pass.from(tensor).columns();
        let variants = pass.variants(tensor);
        Some(variants.iter().map(|v| span.bytes(v.ggml_type, columns).len()).sum::<usize>())
    };
    pass.tensors().filter_map(bytes).max().unwrap_or(0)
}

/// The pieces that are still to be made.
pub struct Queue<'a> {
    pieces: Box<dyn Iterator<Item = (usize, Piece)> + Send + 'a>,
    free: Receiver<Buffers>,
}

impl<'a> Queue<'a> {
    /// All pieces of `pass`; `free` gives the buffers.
    pub fn new(pass: &'a Pass<'a>, free: Receiver<Buffers>) -> Self {
        let pieces = pass.tensors().flat_map(move |tensor| pieces(pass, tensor));
        Self { pieces: Box::new(pieces.enumerate()), free }
    }

    /// The next piece with its number, and buffers to make it in, for which this may wait. Whoever
    /// has the earliest piece that is not written yet has buffers, so the wait ends.
    pub fn take(&mut self) -> Option<(usize, Piece, Buffers)> {
        let (number, piece) = self.pieces.next()?;
        Some((number, piece, self.free.recv().ok()?))
    }
}

/// Tells the kernel to forget what is behind: in long runs, since a page that is forgotten is the next
/// one that is read into, and memory that is new to a program costs more than the disk. Measured on a
/// virtual machine that gives free memory back to its host: reading 6 GB took 0.7 s of kernel time
/// this way and 18 s where the pages stayed.
///
/// What is ahead is left to the kernel, which sees that a file is read in order. Asking for 64 MiB
/// ahead (`WILLNEED`) was tried: a conversion that took 33 s took 44, with half as much kernel time
/// again; more threads than processors gained nothing either.
pub struct Behind<'a> {
    pass: &'a Pass<'a>,
    /// Rows of the present tensor that are not forgotten yet.
    rows: Range<usize>,
}

impl<'a> Behind<'a> {
    /// Before the first piece.
    pub fn new(pass: &'a Pass<'a>) -> Self {
        Self { pass, rows: 0..0 }
    }

    /// Nobody needs the source's rows of `piece` any more; it is the next in order.
    pub fn add(&mut self, piece: &Piece) {
        self.rows.end = piece.span.rows.end;
        let bytes = self.rows.len() * self.pass.from(piece.tensor).row_bytes();
        if piece.last || bytes >= FORGOTTEN {
            let tensor = self.pass.source_tensor(piece.tensor);
            self.pass.source().forget(tensor, self.rows.clone());
            self.rows.start = if piece.last { 0 } else { self.rows.end };
        }
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
    fn spans_follow_each_other_and_are_small() {
        for (columns, rows) in [(32, 1000), (256, 3), (1024, 1), (2560, 7)] {
            let info = info(columns, rows);
            for cut_rows in [true, false] {
                let spans: Vec<Span> = Span::whole(&info).split(512, cut_rows).collect();
                let mut end = 0;
                for span in &spans {
                    let bytes = span.bytes(info.ggml_type, info.columns());
                    assert_eq!(bytes.start, end);
                    end = bytes.end;
                    let whole_row = !cut_rows && span.rows.len() == 1;
                    assert!(span.weights() <= 512 || whole_row, "{span:?}");
                    assert!(span.rows.len() == 1 || span.columns == (0..info.columns()));
                }
                assert_eq!(end as u64, info.bytes());
            }
        }
    }
}
