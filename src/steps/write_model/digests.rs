//! Hashes a file as it is written, in a thread beside the one that writes; SHA-256 is serial, so
//! each file is a thread. What the file's hash is at the end of a tensor is that tensor's entry in
//! the journal: a second hash, of the tensor alone, cost a fifth of the processors' time.

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

/// Goes on with the hash of `file` until there is no more to come, and tells its keeper
/// at each tensor's end.
pub fn hash_file(
    mut hasher: Sha256,
    file: &HashedFile<'_>,
    parts: Receiver<Arc<Made>>,
    keeper: &Sender<Note>,
) -> Sha256 {
    for made in parts {
        let Some((_, bytes)) =
            made.forms.iter().find(|(form, _)| form.files.contains(&file.number))
        else {
            continue;
        };
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
