//! Hashes files and their tensors as they are written, in threads beside the one that writes; SHA-256
//! is serial, so each file is a thread, and its tensors are another. What the file's hash is at the end of a tensor is that tensor's
//! entry in the journal. A tensor has a hash of its own, too, which is made once for all files that
//! have it in the same type.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use sha2::{Digest, Sha256};

use super::keeper::Note;
use super::rows::Made;
use crate::gguf::Layout;

/// A file as this knows it.
pub struct HashedFile<'a> {
    pub number: usize,
    /// Number of its first tensor in the pass.
    pub first: usize,
    pub layout: &'a Layout,
    /// Bytes of each of its tensors, without padding.
    pub sizes: &'a [u64],
}

/// The hash of a tensor's data in one type.
pub struct TensorHash {
    /// Number of the tensor in the pass.
    pub tensor: usize,
    /// Numbers of the files that have it so.
    pub files: Vec<usize>,
    pub sha256: String,
}

/// Goes on with the hash of `file` until there is no more to come, and tells its keeper
/// at each tensor's end.
pub fn hash_file(
    mut hasher: Sha256,
    file: &HashedFile<'_>,
    parts: Receiver<Arc<Made>>,
    keeper: &Sender<Note>,
) -> Sha256 {
    for made in parts {
        let Some((_, bytes)) = made.form_of(file.number) else { continue };
        hasher.update(bytes);
        if made.part.last {
            let bytes = file.sizes[made.part.tensor - file.first];
            hasher.update(vec![0; file.layout.padding(bytes)]);
            let sha256 = hex::encode(hasher.clone().finalize());
            // A keeper that is gone has said why.
            let _ = keeper.send(Note::Hashed(sha256));
        }
    }
    hasher
}

/// The hashes of the tensors of which file `number` is the first that has them so.
///
/// Beside [`hash_file`], which is what a single file waits for: with both hashes in its thread, one
/// format took a third longer.
pub fn hash_tensors(number: usize, parts: Receiver<Arc<Made>>) -> Vec<TensorHash> {
    let (mut hasher, mut hashes) = (Sha256::new(), Vec::new());
    for made in parts {
        let Some((form, bytes)) = made.form_of(number) else { continue };
        hasher.update(bytes);
        if made.part.last {
            hashes.push(TensorHash {
                tensor: made.part.tensor,
                files: form.files.clone(),
                sha256: hex::encode(hasher.finalize_reset()),
            });
        }
    }
    hashes
}
