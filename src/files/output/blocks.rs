//! A file that is written from its start to its end in large blocks, past the page cache where the
//! file system can (`O_DIRECT`): a model is larger than what is worth keeping in memory, and pages
//! for all of it cost more than the disk. Knows nothing of names, hashes or what is written.
//!
//! Measured on a virtual machine that gives free memory back to its host (6 GB, Linux 6.18, ext4):
//! writing took 0.7 s of kernel time this way, 2.8 s through the page cache with
//! `sync_file_range` and `DONTNEED` close behind, 4.6 s with `RWF_DONTCACHE`, and `cp`, whose pages
//! stay, up to 40 s. Blocks of 1 MiB were 15% slower, of 8 and 16 MiB no faster; nor were two writes
//! at a time.
//!
//! What is copied unchanged is read and written like the rest. `copy_file_range` was taken out again:
//! of 4 GB it took 3.7 to 4.4 s of kernel time, reading and writing directly 1.5 s. ext4 copies
//! through the page cache, the hash wants the bytes anyway, and a file system that shares ranges
//! shares whole blocks of 4096 bytes, while tensors lie at multiples of 32 that differ from file to
//! file.

use std::fs::File;
use std::io;

use bytemuck::{Pod, Zeroable};

use crate::files::os;

/// Bytes that are written at once.
const BLOCK: usize = 4 << 20;

/// Bytes from which on a file is written past the page cache: a smaller one is most likely read
/// again at once.
const LARGE: u64 = 64 << 20;

/// What memory, places and lengths of direct writes are multiples of: at least a disk's sector.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

const PAGE: usize = size_of::<Page>();

/// A file and the block at its end that is not full yet.
#[derive(Debug)]
pub struct Blocks {
    file: File,
    /// Memory for a block, as long as there is something to put into it: many files may be open.
    block: Vec<Page>,
    /// Pages of a block.
    pages: usize,
    /// Where the block goes in the file; a multiple of a page's size where writes are direct.
    start: u64,
    /// Bytes of the block that are filled.
    filled: usize,
    /// Whether writes go past the page cache.
    direct: bool,
}

impl Blocks {
    /// Cuts `file` off at `bytes`, which is at most its length, to write what comes behind;
    /// `expected_bytes` is what it will most likely have in the end.
    ///
    /// # Errors
    /// If the file cannot be cut, or its last page cannot be read.
    pub fn behind(file: File, bytes: u64, expected_bytes: u64) -> io::Result<Self> {
        file.set_len(bytes)?;
        let pages = (expected_bytes / PAGE as u64 + 1).min((BLOCK / PAGE) as u64) as usize;
        let mut block = Vec::new();
        // Whole pages only are written directly, so the last one is written again.
        let filled = (bytes % PAGE as u64) as usize;
        let start = bytes - filled as u64;
        if filled > 0 {
            block.resize(pages, Page::zeroed());
            os::read_exact_at(&file, &mut bytemuck::cast_slice_mut(&mut block)[..filled], start)?;
        }
        let mut blocks = Self { file, block, pages, start, filled, direct: false };
        if expected_bytes >= LARGE {
            // One that cannot is written through the page cache.
            let _ = blocks.set_direct(true);
        }
        Ok(blocks)
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes so far, those included that are not in the file yet.
    pub fn written(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// Bytes that are in the file.
    pub fn in_file(&self) -> u64 {
        self.start
    }

    /// Appends `bytes`; what does not fill a block waits.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.block.is_empty() {
            self.block.resize(self.pages, Page::zeroed());
        }
        while !bytes.is_empty() {
            let block: &mut [u8] = bytemuck::cast_slice_mut(&mut self.block);
            let room = &mut block[self.filled..];
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if n == room.len() {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Writes what waits, whatever its length; what comes afterwards goes through the page cache.
    ///
    /// # Errors
    /// As [`Blocks::append`].
    pub fn drain(&mut self) -> io::Result<()> {
        if self.direct {
            self.set_direct(false)?;
        }
        if self.filled > 0 {
            self.write()?;
        }
        self.block = Vec::new();
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes: &[u8] = &bytemuck::cast_slice(&self.block)[..self.filled];
        match os::write_all_at(&self.file, bytes, self.start) {
            // A file system that takes the flag and not the write, or wants more than pages; or one
            // that is full, and has taken a part that is no whole page.
            Err(e) if self.direct && refused(&e) => {
                self.set_direct(false)?;
                return self.write();
            }
            result => result?,
        }
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    fn set_direct(&mut self, direct: bool) -> io::Result<()> {
        os::set_direct(&self.file, direct)?;
        self.direct = direct;
        Ok(())
    }
}

/// Whether it is the way of the write that the file system does not want.
fn refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}
