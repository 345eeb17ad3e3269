//! The format that llama-imatrix writes today: a GGUF file with the tensors `NAME.in_sum2`, sums of
//! squares, and `NAME.counts`, by which they are divided.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::Utf8Path;

use super::{Contents, Entry, VALUE};
use crate::ggml::GgmlType;
use crate::gguf::header::Header;
use crate::gguf::values::Keep;
use crate::gguf::{Array, Error, TensorInfo, Value};

const DATASETS: &str = "imatrix.datasets";
const CHUNK_COUNT: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";

/// What is kept of one tensor: its number in the file for each kind.
#[derive(Default)]
struct Parts {
    /// Sums; not used, but there may be no other number of them than of squares.
    sum: Option<usize>,
    squares: Option<usize>,
    counts: Option<usize>,
}

/// Reads the header and the counts of the file at `path`, whose bytes are `bytes`.
pub(super) fn read(path: &Utf8Path, bytes: &[u8]) -> Result<Contents, Error> {
    let Header { metadata, tensors, ranges, .. } = Header::read(path, bytes, Keep::All)?;
    let not_imatrix = |found: String| Error::NotImatrix { path: path.to_owned(), found };
    if let Some(key) =
        [DATASETS, CHUNK_COUNT, CHUNK_SIZE].iter().find(|key| metadata.get(key).is_none())
    {
        return Err(not_imatrix(format!("a GGUF file without the key {key}")));
    }
    let chunks = match metadata.get(CHUNK_COUNT) {
        // As llama-quantize takes it.
        Some(&Value::U32(count)) => count.cast_signed(),
        _ => return Err(not_imatrix(format!("{CHUNK_COUNT} that is no u32"))),
    };

    let mut parts: BTreeMap<&str, Parts> = BTreeMap::new();
    for (number, info) in tensors.iter().enumerate() {
        if let Some(name) = info.name.strip_suffix(".in_sum") {
            parts.entry(name).or_default().sum = Some(number);
        } else if let Some(name) = info.name.strip_suffix(".in_sum2") {
            parts.entry(name).or_default().squares = Some(number);
        } else if let Some(name) = info.name.strip_suffix(".counts") {
            parts.entry(name).or_default().counts = Some(number);
        }
    }
    if parts.is_empty() {
        return Err(not_imatrix("no tensor called NAME.in_sum2".to_owned()));
    }
    let file = File { path, bytes, tensors: &tensors, ranges: &ranges };
    let entries = parts
        .into_iter()
        .map(|(name, parts)| Ok((name.to_owned(), file.entry(name, &parts)?)))
        .collect::<Result<_, Error>>()?;
    let datasets = match metadata.get(DATASETS) {
        Some(Value::Array(Array::String(names))) => names.clone(),
        _ => Vec::new(),
    };
    Ok(Contents { entries, datasets, chunks })
}

struct File<'a> {
    path: &'a Utf8Path,
    bytes: &'a [u8],
    tensors: &'a [TensorInfo],
    ranges: &'a [Range<usize>],
}

impl File<'_> {
    fn entry(&self, name: &str, parts: &Parts) -> Result<Entry, Error> {
        let wrong = |expected: &str, found: String| Error::Tensor {
            path: self.path.to_owned(),
            tensor: name.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let (Some(squares), Some(counts)) = (parts.squares, parts.counts) else {
            let found = if parts.counts.is_some() { "no .in_sum2" } else { "no .counts" };
            return Err(wrong("a tensor .in_sum2 and a tensor .counts", found.to_owned()));
        };
        for number in [squares, counts] {
            let info = &self.tensors[number];
            if info.ggml_type != GgmlType::F32 {
                return Err(wrong("sums and counts in f32", info.ggml_type.to_string()));
            }
        }
        let elements = |number: usize| self.tensors[number].elements();
        let (values, parts_of_it) = (elements(squares), elements(counts));
        if let Some(sum) = parts.sum
            && elements(sum) != values
        {
            let found = format!("{} and {values}", elements(sum));
            return Err(wrong("as many values in .in_sum as in .in_sum2", found));
        }
        if values == 0 || !values.is_multiple_of(parts_of_it) {
            let found = format!("{values} sums and {parts_of_it} counts");
            return Err(wrong("a whole number of sums for each count", found));
        }
        let stored = self.bytes[self.ranges[counts].clone()].as_chunks::<VALUE>().0;
        let counts = stored
            .iter()
            .map(|&bytes| match f32::from_le_bytes(bytes) {
                // Half away from zero, as llama-quantize rounds them.
                count if count.is_finite() => Ok(Some(count.round()).filter(|c| *c > 0.0)),
                count => Err(wrong("counts that are finite", count.to_string())),
            })
            .collect::<Result<_, Error>>()?;
        Ok(Entry { values: self.ranges[squares].clone(), counts })
    }
}
