//! The threads of a pass: as many as asked for make parts, the calling one writes them in order,
//! and each file has one that hashes it, one that flushes, and, where they are to be told, one that
//! hashes its tensors.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use sha2::Sha256;

use super::behind::Behind;
use super::digests::{HashedFile, hash_file, hash_tensors};
use super::keeper::Keeper;
use super::parts::PartFile;
use super::pass::Pass;
use super::prepared::{Prepared, can_continue};
use super::queue::{Buffers, Queue, largest_part};
use super::rows::Maker;
use super::writer::{Numbered, Sink, Writer};
use crate::gguf::Layout;
use crate::steps::StepError;

/// Bytes that the parts in memory may have together, unless two of them have more.
const PARTS_BYTES: usize = 256 << 20;

/// Makes and writes what the files lack; answers with the hash of each.
///
/// # Errors
/// Those of [`super::write_all`], but for what comes before and after the writing.
pub fn run(prepared: &mut [Prepared<'_>]) -> Result<Vec<Sha256>, StepError> {
    let files: Vec<&PartFile<'_>> = prepared.iter().map(|p| p.file).collect();
    let pass = Pass::new(files.clone(), prepared.iter().map(|p| p.done.len()));
    let ctx = pass.ctx();
    let (home, free) = mpsc::channel();
    // Two for each thread, one to make and one to be written, and some that are hashed.
    let sets = PARTS_BYTES / largest_part(&pass).max(1);
    for _ in 0..sets.clamp(2, 2 * ctx.threads + 6) {
        // The receiver is two lines above.
        let _ = home.send(Buffers::new());
    }
    let queue = Mutex::new(Queue::new(&pass, free));

    let (accounts, result) = thread::scope(|scope| {
        let (mut sinks, mut keepers) = (Vec::new(), Vec::new());
        let (mut hashes, mut tensor_hashes) = (Vec::new(), Vec::new());
        for (number, (file, prepared)) in files.iter().zip(prepared.iter_mut()).enumerate() {
            let Prepared { output, sizes, journal, done, .. } = prepared;
            let (layout, sizes): (&Layout, &[u64]) = (&file.planned.layout, sizes);
            let first = file.planned.tensors.start;
            let keeper = Keeper {
                ctx: file.model.ctx,
                flusher: output.flusher()?,
                journal: journal.take(),
                layout,
                sizes,
                noted: done.len(),
                done: std::mem::take(done),
                in_file: output.in_file(),
                flushed: output.in_file(),
                flush_bytes: file.model.flush_bytes,
            };
            let (note, heard) = mpsc::channel();
            keepers.push(spawn(scope, move || keeper.keep(heard))?);
            let (digest, parts) = mpsc::channel();
            let (hasher, hashed) = (output.take_hasher(), note.clone());
            let of = HashedFile { number, first, layout, sizes };
            hashes.push(spawn(scope, move || hash_file(hasher, &of, parts, &hashed))?);
            let mut tensors = None;
            if file.model.hash_tensors {
                let (digest, parts) = mpsc::channel();
                tensors = Some(digest);
                tensor_hashes.push(spawn(scope, move || hash_tensors(number, parts))?);
            }
            sinks.push(Sink {
                output,
                model: file.model,
                first,
                layout,
                sizes,
                keeper: note,
                digest,
                tensors,
            });
        }
        let (made, parts) = mpsc::channel();
        for _ in 0..ctx.threads {
            let (queue, home, made) = (&queue, home.clone(), made.clone());
            let maker = Maker::new(&pass, home.clone());
            spawn(scope, move || work(queue, maker, &home, &made))?;
        }
        drop(made);

        let written = Writer { ctx, sinks, behind: Behind::new(&pass) }.run(parts);
        let hashers: Vec<_> = hashes.into_iter().map(join).collect();
        let (mut keepers, kept): (Vec<_>, Vec<_>) = keepers.into_iter().map(join).unzip();
        for hash in tensor_hashes.into_iter().flat_map(join) {
            for &file in &hash.files {
                let entry = hash.tensor - files[file].planned.tensors.start;
                // One that was hashed for another file, and not yet for this one, is not done.
                if let Some(entry) = keepers[file].done.get_mut(entry) {
                    entry.tensor_sha256 = Some(hash.sha256.clone());
                }
            }
        }
        // Where a keeper failed, the writer only says that nobody listens.
        let mut result = kept.into_iter().chain([written]).collect::<Result<(), StepError>>();
        if result.as_ref().err().is_none_or(can_continue) {
            // All that is finished, for whoever continues: also where the last flush or the name is
            // what fails. What cannot be noted now is only less to continue from.
            for keeper in &mut keepers {
                result = result.and(keeper.note());
            }
        }
        let accounts = keepers.into_iter().map(|k| (k.journal, k.done)).collect::<Vec<_>>();
        Ok::<_, StepError>((accounts, result.map(|()| hashers)))
    })?;
    for (prepared, (journal, done)) in prepared.iter_mut().zip(accounts) {
        (prepared.journal, prepared.done) = (journal, done);
    }
    result
}

/// Makes parts until there are no more, an error comes, or nobody takes them.
fn work<'a>(
    queue: &Mutex<Queue<'a>>,
    mut maker: Maker<'a>,
    home: &Sender<Buffers>,
    made: &Sender<Numbered>,
) {
    loop {
        let taken = queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((number, part, buffers)) = taken else { return };
        // A panic goes where the part would have gone: the writer waits for it.
        let part = catch_unwind(AssertUnwindSafe(|| maker.make(part, buffers)));
        let failed = !matches!(part, Ok(Ok(_)));
        if failed {
            // The next in the queue waits for buffers with its hand on it.
            let _ = home.send(Buffers::new());
        }
        if made.send((number, part)).is_err() || failed {
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
