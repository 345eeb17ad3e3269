//! Hashes files and their tensors as they are written, in threads beside the one that writes; SHA-256
//! is serial, so each file is a thread, and its tensors are another. What the file's hash is at the
//! end of a tensor is that tensor's entry in the journal. A tensor has a hash of its own, too, which
//! is made once for all files that have it in the same type.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use sha2::{Digest, Sha256};

use super::files::NewFile;
use super::journal::Advance;
use super::maker::MadePiece;

/// The hash of a tensor's data in one type.
pub struct TensorHash {
    /// Number of the tensor in the pass.
    pub tensor: usize,
    /// Numbers of the files that have it so.
    pub files: Vec<usize>,
    pub sha256: String,
}

/// Goes on with the hash of `file`, which has this number in the pass, until there is no more to come,
/// and tells its keeper at each tensor's end.
pub fn hash_file(
    mut hasher: Sha256,
    (number, file): (usize, &NewFile),
    pieces: Receiver<Arc<MadePiece>>,
    keeper: &Sender<Advance>,
) -> Sha256 {
    for made in pieces {
        let Some((_, bytes)) = made.variant_of(number) else { continue };
        hasher.update(bytes);
        if made.piece.last {
            hasher.update(vec![0; file.padding(made.piece.tensor - file.tensors.start)]);
            let sha256 = hex::encode(hasher.clone().finalize());
            // A keeper that is gone has said why.
            let _ = keeper.send(Advance::Hashed(sha256));
        }
    }
    hasher
}

/// The hashes of the tensors of which file `number` is the first that has them so.
///
/// Beside [`hash_file`], which is what a single file waits for: with both hashes in its thread, one
/// format took a third longer.
pub fn hash_tensors(number: usize, pieces: Receiver<Arc<MadePiece>>) -> Vec<TensorHash> {
    let (mut hasher, mut hashes) = (Sha256::new(), Vec::new());
    for made in pieces {
        let Some((variant, bytes)) = made.variant_of(number) else { continue };
        hasher.update(bytes);
        if made.piece.last {
            hashes.push(TensorHash {
                tensor: made.piece.tensor,
                files: variant.files.clone(),
                sha256: hex::encode(hasher.finalize_reset()),
            });
        }
    }
    hashes
}
