//! What a pass has left behind of its source: told to be forgotten by the kernel in long runs, since
//! a page that is forgotten is the next one that is read into, and memory that is new to a program
//! costs more than the disk. Measured on a virtual machine that gives free memory back to its host:
//! reading 6 GB took 0.7 s of kernel time this way and 18 s where the pages stayed.
//!
//! What is ahead is left to the kernel, which sees that a file is read in order. Asking for 64 MiB
//! ahead (`WILLNEED`) was tried: a conversion that took 33 s took 44, with half as much kernel time
//! again; more threads than processors gained nothing either.

use std::ops::Range;

use super::pass::Pass;
use super::queue::Part;

/// Bytes of a run. The page cache keeps files in pieces of up to some megabytes, and only whole
/// pieces are forgotten: runs of 512 KiB left nearly all.
const RUN: usize = 32 << 20;

/// Follows the parts that are written.
pub struct Behind<'a> {
    pass: &'a Pass<'a>,
    /// Rows of the present tensor that are not forgotten yet.
    rows: Range<usize>,
}

impl<'a> Behind<'a> {
    /// Before the first part.
    pub fn new(pass: &'a Pass<'a>) -> Self {
        Self { pass, rows: 0..0 }
    }

    /// Nobody needs the source's rows of `part` any more; it is the next in order.
    pub fn pass(&mut self, part: &Part) {
        self.rows.end = part.span.rows.end;
        let bytes = self.rows.len() * self.pass.from(part.tensor).row_bytes();
        if part.last || bytes >= RUN {
            let tensor = self.pass.source_tensor(part.tensor);
            self.pass.source().forget(tensor, self.rows.clone());
            self.rows.start = if part.last { 0 } else { self.rows.end };
        }
    }
}
