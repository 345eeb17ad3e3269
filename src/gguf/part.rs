//! One GGUF file of those that a model is in: its mapped bytes and what its header says. Knows nothing of
//! the others.

use std::fmt;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::header::Header;
use super::parts::{SPLIT_COUNT, SPLIT_NO, SPLIT_TENSORS};
use super::values::Keep;
use super::{Error, Metadata, TensorInfo};
use crate::files::Map;

/// An open GGUF file that may be one of several.
#[derive(Debug)]
pub(super) struct Part {
    pub path: Utf8PathBuf,
    pub map: Map,
    pub version: u32,
    pub alignment: u64,
    /// Where the data section starts.
    pub data_start: u64,
}

/// What a header says beside what a [`Part`] keeps.
pub(super) struct Contents {
    pub metadata: Metadata,
    pub tensors: Vec<TensorInfo>,
    /// Where each tensor's data is in the file.
    pub ranges: Vec<Range<usize>>,
}

/// Which of how many parts a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Counted from zero.
    pub number: usize,
    /// At least two.
    pub count: usize,
    /// Tensors in all parts together, where the file says.
    pub tensors: Option<u64>,
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {}", self.number + 1, self.count)?;
        self.tensors.map_or(Ok(()), |n| write!(f, " of a model with {n} tensors"))
    }
}

impl Part {
    /// Opens the file at `path` and checks its whole header.
    pub fn open(path: &Utf8Path, keep: Keep) -> Result<(Self, Contents), Error> {
        let map = Map::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let header = Header::read(path, &map, keep)?;
        let Header { version, alignment, metadata, tensors, ranges, data_start } = header;
        let part = Self { path: path.to_owned(), map, version, alignment, data_start };
        Ok((part, Contents { metadata, tensors, ranges }))
    }

    /// Which of how many parts it is; `None` where it is the only one.
    ///
    /// # Errors
    /// If its metadata contradicts itself.
    pub fn numbered(&self, metadata: &Metadata) -> Result<Option<Numbered>, Error> {
        let number_of = |key: &str| match (metadata.get(key), metadata.u64(key)) {
            (None, _) => Ok(None),
            (_, Some(number)) => Ok(Some(number)),
            (Some(value), None) => Err(self.wrong(format!(
                "its {key} is {value}; expected an unsigned integer, as llama-gguf-split writes it"
            ))),
        };
        // One that was merged again says zero.
        let Some(count) = number_of(SPLIT_COUNT)?.filter(|&count| count > 1) else {
            return Ok(None);
        };
        let Some(number) = number_of(SPLIT_NO)?.filter(|&number| number < count) else {
            let found = metadata.get(SPLIT_NO).map_or("missing".to_owned(), ToString::to_string);
            return Err(self.wrong(format!(
                "it is one of {count} parts, and its {SPLIT_NO}, which says which one, is {found}; expected \
                 0 to {}",
                count - 1
            )));
        };
        let (Ok(number), Ok(count)) = (u16::try_from(number), u16::try_from(count)) else {
            let most = u16::MAX;
            return Err(self.wrong(format!("it is one of {count} parts; expected at most {most}")));
        };
        let (number, count) = (number.into(), count.into());
        Ok(Some(Numbered { number, count, tensors: number_of(SPLIT_TENSORS)? }))
    }

    /// Why it is not the part that it should be.
    pub fn wrong(&self, problem: String) -> Error {
        Error::Parts { path: self.path.clone(), problem }
    }
}
