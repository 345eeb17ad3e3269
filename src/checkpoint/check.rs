//! Whether a checkpoint holds the tensors that its configuration asks for: all of them, in their
//! shapes and types, and no others.

use std::collections::HashSet;

use super::convert_rows::Float;
use super::error::Error;
use super::index::Checkpoint;
use crate::arch::{Make, Mapped, Stored};
use crate::ggml::GgmlType;

/// Holds `checkpoint` against the map of its tensors.
pub(super) fn check(checkpoint: &Checkpoint, mapped: &[Mapped]) -> Result<(), Error> {
    check_layout(checkpoint)?;
    for tensor in mapped {
        check_blocks(checkpoint, tensor)?;
        for stored in tensor.stored() {
            check_stored(checkpoint, stored, tensor.is_mxfp4())?;
        }
    }
    check_unknown(checkpoint, mapped)
}

/// A `config.json` of one layout beside weights of the other gets an error that says so.
fn check_layout(checkpoint: &Checkpoint) -> Result<(), Error> {
    let config = checkpoint.described();
    // The tensors that have the same name in every layer, or are in none: the first tells.
    let first = |layout: usize| {
        config.architecture.rows.iter().find_map(|row| match row.from[layout] {
            Make::Same(name) => Some(name),
            _ => None,
        })
    };
    let ours = first(config.layout).unwrap_or_default();
    let others = (0..config.architecture.layouts.len()).filter_map(first);
    let mut others = others.filter(|name| *name != ours && checkpoint.find(name).is_some());
    if checkpoint.find(ours).is_none()
        && let Some(other) = others.next()
    {
        return Err(Error::MissingTensor {
            directory: checkpoint.directory().to_owned(),
            tensor: ours.to_owned(),
            why: format!(
                "config.json is of the {} layout, but the tensors are of the other one ({other}); \
                 put the config.json there that belongs to them",
                config.layout().name
            ),
        });
    }
    Ok(())
}

/// MXFP4 has no half blocks.
fn check_blocks(checkpoint: &Checkpoint, tensor: &Mapped) -> Result<(), Error> {
    let columns = tensor.shape[0];
    if tensor.is_mxfp4() && !columns.is_multiple_of(GgmlType::MXFP4.block_size() as u64) {
        return Err(Error::Tensor {
            path: checkpoint.directory().join("config.json"),
            tensor: tensor.name.clone(),
            expected: "rows of a multiple of 32 weights, since the experts are MXFP4".into(),
            found: format!("{columns}"),
        });
    }
    Ok(())
}

fn check_stored(checkpoint: &Checkpoint, stored: &Stored, mxfp4: bool) -> Result<(), Error> {
    let Some(found) = checkpoint.find(&stored.name) else {
        return Err(Error::MissingTensor {
            directory: checkpoint.directory().to_owned(),
            tensor: stored.name.clone(),
            why: "config.json asks for it, no *.safetensors file holds it".to_owned(),
        });
    };
    let wrong = |expected: String, found_text: String| Error::Tensor {
        path: found.path.to_owned(),
        tensor: stored.name.clone(),
        expected,
        found: found_text,
    };
    let shape = &found.entry.shape;
    if !shape.iter().map(|&d| d as u64).eq(stored.shape.iter().copied()) {
        return Err(wrong(
            format!("shape {:?} from config.json", stored.shape),
            format!("{shape:?}"),
        ));
    }
    let dtype = found.entry.dtype;
    if mxfp4 && dtype != safetensors::Dtype::U8 {
        return Err(wrong("U8, the codes and scales of MXFP4".into(), format!("{dtype:?}")));
    }
    if !mxfp4 && Float::of(dtype).is_none() {
        return Err(wrong("F32, F16 or BF16".into(), format!("{dtype:?}")));
    }
    Ok(())
}

/// A tensor that nothing reads would be lost without a word.
fn check_unknown(checkpoint: &Checkpoint, mapped: &[Mapped]) -> Result<(), Error> {
    let known: HashSet<&str> =
        mapped.iter().flat_map(Mapped::stored).map(|s| s.name.as_str()).collect();
    let unknown = checkpoint
        .names()
        // Buffers that old checkpoints carry; they follow from the configuration.
        .find(|name| !known.contains(name) && !name.ends_with(".rotary_emb.inv_freq"));
    match unknown.and_then(|name| checkpoint.find(name)) {
        None => Ok(()),
        Some(found) => Err(Error::Tensor {
            path: found.path.to_owned(),
            tensor: found.entry.name.clone(),
            expected: format!(
                "the tensors of a {} with this config.json",
                checkpoint.described().architecture.name
            ),
            found: "one that is not among them".into(),
        }),
    }
}
