//! What is to be made next, in the order of the files and no faster than buffers come free. Knows
//! nothing of how rows are made or written.

use std::sync::mpsc::Receiver;

use super::pass::Pass;
use super::span::Span;

/// Weights of a part: large enough to write at once, small enough to have several for each thread.
const PART: usize = 1 << 20;

/// A part of a tensor: one thread makes it, and it is written in one go.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number of the tensor in the files.
    pub tensor: usize,
    pub span: Span,
    /// Whether it ends the tensor.
    pub last: bool,
}

/// Byte buffers, one for each type that a part is made in. They go round: there are as many sets as
/// may be in memory at a time.
pub type Buffers = Vec<Vec<u8>>;

/// The parts that are still to be made.
pub struct Queue<'a> {
    parts: Box<dyn Iterator<Item = (usize, Part)> + Send + 'a>,
    free: Receiver<Buffers>,
}

/// The parts of a tensor: at least one, so that one without weights is written and accounted for too.
fn parts(pass: &Pass<'_>, tensor: usize) -> impl Iterator<Item = Part> + use<> {
    let whole = Span::whole(pass.from(tensor));
    let end = (whole.rows.end, whole.columns.end);
    let empty = (whole.weights() == 0).then(|| whole.clone());
    let parts = whole.split(PART, pass.can_cut_rows(tensor));
    empty.into_iter().chain(parts).map(move |span| {
        let last = (span.rows.end, span.columns.end) == end;
        Part { tensor, span, last }
    })
}

/// Bytes of the largest part, in all types that it is wanted in.
pub fn largest_part(pass: &Pass<'_>) -> usize {
    let bytes = |tensor: usize| {
        // None is larger than the first.
        let span = parts(pass, tensor).next()?.span;
        let columns = pass.from(tensor).columns();
        let forms = pass.forms(tensor);
        Some(forms.iter().map(|form| span.bytes(form.ggml_type, columns).len()).sum::<usize>())
    };
    pass.tensors().filter_map(bytes).max().unwrap_or(0)
}

impl<'a> Queue<'a> {
    /// All parts of `pass`; `free` gives the buffers.
    pub fn new(pass: &'a Pass<'a>, free: Receiver<Buffers>) -> Self {
        let parts = pass.tensors().flat_map(move |tensor| parts(pass, tensor));
        Self { parts: Box::new(parts.enumerate()), free }
    }

    /// The next part with its number, and buffers to make it in, for which this may wait. Whoever
    /// has the earliest part that is not written yet has buffers, so the wait ends.
    pub fn take(&mut self) -> Option<(usize, Part, Buffers)> {
        let (number, part) = self.parts.next()?;
        Some((number, part, self.free.recv().ok()?))
    }
}
