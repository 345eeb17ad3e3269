//! Memory stays bounded whatever the size of a model: a checkpoint is converted and quantized whose
//! largest tensors are larger than all the memory that is promised.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

#[path = "../examples/write_checkpoint/layout.rs"]
mod layout;

/// Threads that a step may use.
const THREADS: u64 = 1;

/// Bytes that it may have in memory.
const BOUND: u64 = (512 << 20) + (64 << 20) * THREADS;

/// A checkpoint of zeros, which take no room on a disk; answers with the bytes of its largest
/// tensor.
fn write_sparse(directory: &Path) -> u64 {
    let config = layout::config_20b(1)
        .replace("2880", "1536")
        .replace("\"num_experts\": 32", "\"num_experts\": 4");
    let tensors = layout::tensors(&config).unwrap();
    let header = layout::header(&tensors).unwrap();
    let bytes = |range: (usize, usize)| (range.1 - range.0) as u64;
    let largest = tensors.iter().map(|(_, info)| bytes(info.data_offsets)).max().unwrap();
    let end = tensors.last().unwrap().1.data_offsets.1 as u64;
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), config).unwrap();
    let file = File::create(directory.join("model.safetensors")).unwrap();
    file.set_len(header.len() as u64 + end).unwrap();
    file.write_all_at(&header, 0).unwrap();
    largest
}

/// Runs `qrun` with `args` in `directory`; answers with the most memory it had, pages of mapped
/// files included.
fn peak_bytes(directory: &Path, args: &[&str]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qrun"))
        .args(args)
        .args(["--tokenizer", "o200k_harmony", "--quiet", "--threads", &THREADS.to_string()])
        .current_dir(directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        // The kernel keeps the peak, so that none is missed between two looks.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) << 10);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success(), "{args:?}");
    peak
}

#[test]
fn memory_does_not_grow_with_the_model() {
    let guard = tempfile::tempdir().unwrap();
    let directory = guard.path();
    let largest = write_sparse(&directory.join("checkpoint"));
    assert!(largest > BOUND, "a tensor of {largest} bytes proves nothing");
    let steps: [&[&str]; 3] = [
        &["convert", "checkpoint", "bf16.gguf", "--dtype", "bf16"],
        &["quantize", "checkpoint", "a.gguf", "--format", "q4_0"],
        &["quantize", "bf16.gguf", "b.gguf", "--format", "q4_0"],
    ];
    for args in steps {
        let peak = peak_bytes(directory, args);
        println!("{args:?}: {} MiB at most", peak >> 20);
        assert!(peak > 1 << 20, "the peak of {args:?} was not seen");
        assert!(peak <= BOUND, "{args:?} had {peak} bytes in memory, {BOUND} are promised");
    }
}
