//! Models in several files, as llama-gguf-split makes them (`tools/gguf-split`, build b11434): which
//! tensors and which metadata are in which part, and how parts are called. Knows nothing of reading or
//! writing.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::{DEFAULT_ALIGNMENT, Metadata, TensorInfo, Value};

/// Which part a file is, counted from zero; `u16`.
pub const SPLIT_NO: &str = "split.no";
/// Of how many parts; `u16`.
pub const SPLIT_COUNT: &str = "split.count";
/// Tensors in all parts together; `i32`.
pub const SPLIT_TENSORS: &str = "split.tensors.count";

/// The keys that only files in parts have, or that had been in parts.
pub const SPLIT_KEYS: [&str; 3] = [SPLIT_NO, SPLIT_COUNT, SPLIT_TENSORS];

/// Most parts that a count of 16 bits can say.
const MOST: usize = u16::MAX as usize;

/// The ending of a model's name.
const ENDING: &str = ".gguf";

/// The name of part `number`, counted from zero, of the `count` parts of the model that would be called
/// `whole` in one file: `NAME-00001-of-00003.gguf` for `NAME.gguf`.
pub fn part_path(whole: &Utf8Path, number: usize, count: usize) -> Utf8PathBuf {
    let stem = whole.as_str().strip_suffix(ENDING).unwrap_or(whole.as_str());
    format!("{stem}-{:05}-of-{count:05}{ENDING}", number + 1).into()
}

/// What the model of which `path` is a part would be called in one file, with the number of the part,
/// counted from zero, and the count of parts: what [`part_path`] is made of. `None` for other names.
pub fn whole_path(path: &Utf8Path) -> Option<(Utf8PathBuf, usize, usize)> {
    let (rest, count) = path.as_str().strip_suffix(ENDING)?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let (number, count) = (number.parse::<usize>().ok()?, count.parse().ok()?);
    let whole = Utf8PathBuf::from(format!("{stem}{ENDING}"));
    // Only as it would be written: five digits, or more where they are needed.
    let good = number > 0 && part_path(&whole, number - 1, count) == path;
    good.then(|| (whole, number - 1, count))
}

/// Which tensors go into which part: as many in order as have at most `max_bytes` together, each with
/// its padding. A tensor that is larger by itself has a part of its own.
///
/// # Errors
/// If there would be more parts than their count can say; with that number.
pub fn partition(tensors: &[TensorInfo], max_bytes: u64) -> Result<Vec<Range<usize>>, usize> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0u64);
    for (number, info) in tensors.iter().enumerate() {
        let padded = info.bytes().next_multiple_of(DEFAULT_ALIGNMENT);
        if number > start && bytes.saturating_add(padded) > max_bytes {
            parts.push(start..number);
            (start, bytes) = (number, 0);
        }
        bytes = bytes.saturating_add(padded);
    }
    parts.push(start..tensors.len());
    if parts.len() > MOST { Err(parts.len()) } else { Ok(parts) }
}

/// The metadata of part `number` of `count`, for a model with this metadata and so many tensors: the
/// first part has all of it.
pub fn part_metadata(whole: &Metadata, number: usize, count: usize, tensors: usize) -> Metadata {
    let mut metadata = if number == 0 { whole.clone() } else { Metadata::default() };
    for key in SPLIT_KEYS {
        metadata.remove(key);
    }
    // In this order: the count is set once more when all parts are known, which moves it to the end.
    metadata.set(SPLIT_NO, Value::U16(number as u16));
    metadata.set(SPLIT_TENSORS, Value::I32(i32::try_from(tensors).unwrap_or(i32::MAX)));
    metadata.set(SPLIT_COUNT, Value::U16(count as u16));
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::GgmlType;

    #[test]
    fn names_are_made_and_read_back() {
        let part = part_path("a/b.gguf".into(), 1, 3);
        assert_eq!(part, "a/b-00002-of-00003.gguf");
        assert_eq!(whole_path(&part), Some(("a/b.gguf".into(), 1, 3)));
        let many = part_path("b".into(), 65_534, 123_456);
        assert_eq!(many, "b-65535-of-123456.gguf");
        assert_eq!(whole_path(&many), Some(("b.gguf".into(), 65_534, 123_456)));
        for other in [
            "b.gguf",
            "b-1-of-3.gguf",
            "b-00000-of-00003.gguf",
            "b-00001-of-00003.bin",
            "b-000001-of-00003.gguf",
            "-of-.gguf",
            "b-+0001-of-00003.gguf",
        ] {
            assert_eq!(whole_path(other.into()), None, "{other}");
        }
    }

    #[test]
    fn parts_are_filled_in_order() {
        let tensors =
            [3u64, 8, 100, 8, 8, 1].map(|n| TensorInfo::new(format!("t{n}"), GgmlType::F32, [n]));
        let parts = |max| partition(&tensors, max).unwrap();
        // 32, 32, 416, 32, 32 and 32 bytes.
        assert_eq!(parts(64), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(parts(63), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(parts(480), [0..3, 3..6]);
        assert_eq!((parts(1000).len(), parts(1000)[0].clone()), (1, 0..6));
        assert_eq!(parts(0).len(), 6);
        assert_eq!(partition(&[], 1).map(|parts| parts.len()), Ok(1));
        let many = vec![tensors[0].clone(); 70_000];
        assert_eq!(partition(&many, 1), Err(70_000));
    }
}
