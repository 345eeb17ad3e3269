//! Hashes what is written, in threads beside the one that writes: each file, and each tensor once
//! for all files that hold it in the same type. SHA-256 is serial, so each hash is a thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use sha2::{Digest, Sha256};

use super::keeper::Note;
use super::rows::Made;
use crate::gguf::Layout;

/// Goes on with the hash of file number `file` until there is no more to come.
pub fn hash_file(
    mut hasher: Sha256,
    file: usize,
    layout: &Layout,
    sizes: &[u64],
    parts: Receiver<Arc<Made<'_>>>,
) -> Sha256 {
    for made in parts {
        for (form, data) in &made.forms {
            if form.files.contains(&file) {
                hasher.update(data.bytes());
                if made.part.last {
                    hasher.update(vec![0; layout.padding(sizes[made.part.tensor])]);
                }
            }
        }
    }
    hasher
}

/// Hashes each tensor in the type that stands in place number `place` of its types, and tells the
/// keepers of the files.
pub fn hash_tensors(place: usize, parts: Receiver<Arc<Made<'_>>>, keepers: &[Sender<Note>]) {
    let mut hasher = Sha256::new();
    for made in parts {
        let Some((form, data)) = made.forms.get(place) else { continue };
        hasher.update(data.bytes());
        if made.part.last {
            let sha256 = hex::encode(std::mem::take(&mut hasher).finalize());
            for &file in &form.files {
                // A keeper that is gone has said why.
                let _ = keepers[file]
                    .send(Note::Hashed { tensor: made.part.tensor, sha256: sha256.clone() });
            }
        }
    }
}
