//! What of files depends on the operating system: which file one is and when it changed, positioned
//! reads, advice to the page cache, direct writes, free space, names that are not taken from
//! anybody, shared blocks. Beside this only `exec::os` knows one; each has a version for Unix.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use memmap2::{Advice, Mmap, UncheckedAdvice};
use rustix::buffer::spare_capacity;
use rustix::fs::{Access, AtFlags, CWD, OFlags, RenameFlags, accessat, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::FileId;

/// The program that runs, whatever has become of its name since it was started.
pub const PROGRAM: Option<&str> =
    if cfg!(target_os = "linux") { Some("/proc/self/exe") } else { None };

/// Which file it is.
pub fn id(metadata: &Metadata) -> FileId {
    FileId { device: metadata.dev(), inode: metadata.ino() }
}

/// Last change of content, and of content or inode, in ns since 1970.
pub fn times(metadata: &Metadata) -> (i64, i64) {
    let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
    (ns(metadata.mtime(), metadata.mtime_nsec()), ns(metadata.ctime(), metadata.ctime_nsec()))
}

/// Opens what stands at `path` itself: not what a link of that name leads to, and without waiting
/// for the other end of a pipe.
pub fn open_itself(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Err(io::Error::other("it is a symbolic link, which is not followed"))
        }
        result => result,
    }
}

/// Whether files can be made in `directory`, by permissions and by how it is mounted; nothing is
/// tried.
pub fn may_write(directory: &Path) -> io::Result<()> {
    Ok(accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Fills `out` from `offset` on.
pub fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(out, offset)
}

/// Adds bytes from `offset` on to `out`, as many as it has room for at most; returns how many, zero
/// at the end of the file.
pub fn read_into(file: &File, out: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    loop {
        match pread(file, spare_capacity(out), offset) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Writes all of `bytes` at `offset`.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Whether the byte at `offset` can be had without the disk.
pub fn is_cached_at(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    preadv2(file, &mut bytes, offset, ReadWriteFlags::NOWAIT).is_ok()
}

/// Lets the page cache drop `length` bytes from `offset` on; a refusal changes nothing but memory use.
pub fn drop_cached(file: &File, offset: u64, length: NonZeroU64) {
    let _ = rustix::fs::fadvise(file, offset, Some(length), rustix::fs::Advice::DontNeed);
}

/// Asks for large pages; a refusal changes nothing but speed.
pub fn prefer_huge_pages(map: &Mmap) {
    let _ = map.advise(Advice::HugePage);
}

/// Gives pages of a read-only map back; a refusal changes nothing but memory use.
pub fn release(map: &Mmap, start: usize, length: usize) {
    // SAFETY: on a read-only file map MADV_DONTNEED loses nothing: there are no dirty pages, and later
    // reads fault the same bytes in from the file.
    let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
}

/// Whether writes of `file` go past the page cache from now on.
pub fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

/// Bytes that may still be written to the file system of `directory`.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Renames without replacing anything: [`io::ErrorKind::AlreadyExists`] where the name is taken,
/// [`io::ErrorKind::Unsupported`] where the file system cannot promise it.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        result => Ok(result?),
    }
}

/// Lets `to` share the blocks of `from`, a copy that each of the two may change by itself.
pub fn share_blocks(to: &File, from: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}
