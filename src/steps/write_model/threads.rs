//! The threads of a pass: as many as asked for make pieces, the calling one writes them in order,
//! and each file has one that hashes it, one that keeps its journal, and, where they are to be told,
//! one that hashes its tensors.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use sha2::Sha256;

use super::hasher::{hash_file, hash_tensors};
use super::maker::Maker;
use super::open_file::{OpenFile, can_continue};
use super::pass::Pass;
use super::pieces::{Behind, Buffers, Queue, largest_piece};
use super::writer::{FileWriter, Numbered, Writer};
use crate::steps::StepError;

/// Bytes that the pieces in memory may have together, unless two of them have more.
const PIECES_BYTES: usize = 256 << 20;

/// Makes and writes what the files lack; answers with the hash of each.
///
/// # Errors
/// Those of [`super::write_all`], but for what comes before and after the writing.
pub fn run(open: &mut [OpenFile<'_>]) -> Result<Vec<Sha256>, StepError> {
    let pass = Pass::new(open);
    let ctx = pass.ctx();
    let (home, free) = mpsc::channel();
    // Two for each thread, one to make and one to be written, and some that are hashed.
    let sets = PIECES_BYTES / largest_piece(&pass).max(1);
    for _ in 0..sets.clamp(2, 2 * ctx.threads + 6) {
        // The receiver is two lines above.
        let _ = home.send(Buffers::new());
    }
    let queue = Mutex::new(Queue::new(&pass, free));

    let (mut result, hashers, tensor_hashes) = thread::scope(|scope| {
        let (mut files, mut keepers) = (Vec::new(), Vec::new());
        let (mut hashers, mut tensor_hashers) = (Vec::new(), Vec::new());
        for (number, open) in open.iter_mut().enumerate() {
            let OpenFile { model, file, output, keeper, .. } = open;
            let (model, file) = (*model, *file);
            let (advance, advances) = mpsc::channel();
            keepers.push(spawn(scope, move || keeper.keep(advances))?);
            let (hasher, pieces) = mpsc::channel();
            let (so_far, hashed) = (output.take_hasher(), advance.clone());
            hashers.push(spawn(scope, move || hash_file(so_far, (number, file), pieces, &hashed))?);
            let mut tensor_hasher = None;
            if model.hash_tensors {
                let (hasher, pieces) = mpsc::channel();
                tensor_hasher = Some(hasher);
                tensor_hashers.push(spawn(scope, move || hash_tensors(number, pieces))?);
            }
            files.push(FileWriter { output, model, file, keeper: advance, hasher, tensor_hasher });
        }
        let (made, pieces) = mpsc::channel();
        for _ in 0..ctx.threads {
            let (queue, home, made) = (&queue, home.clone(), made.clone());
            let maker = Maker::new(&pass, home.clone());
            spawn(scope, move || work(queue, maker, &home, &made))?;
        }
        drop(made);

        let written = Writer { ctx, files, behind: Behind::new(&pass) }.run(pieces);
        let hashers: Vec<Sha256> = hashers.into_iter().map(join).collect();
        // Where a keeper failed, the writer only says that nobody listens.
        let kept: Vec<_> = keepers.into_iter().map(join).collect();
        let result = kept.into_iter().chain([written]).collect::<Result<(), StepError>>();
        let tensor_hashes: Vec<_> = tensor_hashers.into_iter().flat_map(join).collect();
        Ok::<_, StepError>((result, hashers, tensor_hashes))
    })?;
    for hash in tensor_hashes {
        for file in hash.files {
            let entry = hash.tensor - pass.file(file).tensors.start;
            // One that was hashed for another file, and not yet for this one, is not done.
            if let Some(entry) = open[file].keeper.done.get_mut(entry) {
                entry.tensor_sha256 = Some(hash.sha256.clone());
            }
        }
    }
    if result.as_ref().err().is_none_or(can_continue) {
        // All that is finished, for whoever continues: also where the last flush or the name is what
        // fails. What cannot be noted now is only less to continue from.
        for file in open {
            result = result.and(file.keeper.note());
        }
    }
    result.map(|()| hashers)
}

/// Makes pieces until there are no more, an error comes, or nobody takes them.
fn work<'a>(
    queue: &Mutex<Queue<'a>>,
    mut maker: Maker<'a>,
    home: &Sender<Buffers>,
    made: &Sender<Numbered>,
) {
    loop {
        let taken = queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((number, piece, buffers)) = taken else { return };
        // A panic goes where the piece would have gone: the writer waits for it.
        let piece = catch_unwind(AssertUnwindSafe(|| maker.make(piece, buffers)));
        let failed = !matches!(piece, Ok(Ok(_)));
        if failed {
            // The next in the queue waits for buffers with its hand on it.
            let _ = home.send(Buffers::new());
        }
        if made.send((number, piece)).is_err() || failed {
            return;
        }
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    f: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, StepError> {
    let host = |e: io::Error| StepError::host(format!("cannot start a thread: {e}"));
    thread::Builder::new().spawn_scoped(scope, f).map_err(host)
}

fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    match handle.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
