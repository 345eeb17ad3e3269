//! A file appears whole under its name or not at all, and nothing that was there is lost.

use super::*;

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

fn names(dir: &Utf8Path) -> Vec<String> {
    let mut names: Vec<_> =
        dir.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn appears_whole_under_its_name() {
    let (_guard, dir) = directory();
    let path = dir.join("new/x.bin");
    let mut output = Output::create(&path, &Mark::default(), 3, false).unwrap();
    output.write(b"ab").unwrap();
    assert_eq!(names(&dir.join("new")), ["x.bin.qrun.partial"]);
    output.write(b"c").unwrap();
    let digest = output.finish().unwrap();
    assert_eq!((digest.bytes, digest.sha256.as_str()), (3, ABC));
    assert_eq!(names(&dir.join("new")), ["x.bin"]);
    assert_eq!(fs::read(&path).unwrap(), b"abc");
}

#[test]
fn refuses_to_replace_unless_told() {
    let (_guard, dir) = directory();
    let path = dir.join("x");
    write_atomic(&path, b"old", false).unwrap();
    let error = write_atomic(&path, b"abc", false).unwrap_err();
    assert!(matches!(error, Error::Name(_)));
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(write_atomic(&path, b"abc", true).unwrap().sha256, ABC);
    assert_eq!(fs::read(&path).unwrap(), b"abc");

    let output = Output::create(&dir.join("y"), &Mark::default(), 0, false).unwrap();
    fs::write(dir.join("y"), b"somebody else's").unwrap();
    assert!(matches!(output.finish().unwrap_err(), Error::Name(_)));
    assert_eq!(fs::read(dir.join("y")).unwrap(), b"somebody else's");
}

#[test]
fn a_failure_leaves_nothing_or_the_partial() {
    let (_guard, dir) = directory();
    let path = dir.join("x");
    let mut output = Output::create(&path, &Mark::default(), 3, false).unwrap();
    output.write(b"ab").unwrap();
    drop(output);
    assert!(names(&dir).is_empty());

    let mut output = Output::create(&path, &Mark::default(), 3, false).unwrap();
    output.write(b"abX").unwrap();
    output.keep_partial();
    drop(output);
    assert_eq!(names(&dir), ["x.qrun.partial"]);
    let prefix = Prefix { bytes: 2, hasher: Sha256::new_with_prefix(b"ab") };
    let mut output =
        Output::resume(&path, &Mark::default(), 3, false, |_| Ok::<_, Error>(prefix)).unwrap();
    assert_eq!(output.written(), 2);
    output.write(b"c").unwrap();
    assert_eq!(output.finish().unwrap().sha256, ABC);
    assert_eq!(fs::read(&path).unwrap(), b"abc");
}

#[test]
fn large_files_are_written_in_blocks_whatever_the_pieces() {
    let (_guard, dir) = directory();
    let path = dir.join("x");
    // Pieces that end inside pages and blocks, and more than one block.
    let pieces = [1, 4095, 4096, 5000, 4 << 20, (4 << 20) + 1, 12_345, 1 << 20];
    let bytes: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|i| ((i * i) >> 7) as u8).collect();
    let hasher = |bytes: &[u8]| Sha256::new_with_prefix(bytes);
    for kept in [0, 32, 4096, 4097, (8 << 20) + 777] {
        fs::write(Mark::default().partial(&path), [&bytes[..kept], &[7; 10_000]].concat()).unwrap();
        let prefix = Prefix { bytes: kept as u64, hasher: hasher(&bytes[..kept]) };
        let mut output =
            Output::resume(&path, &Mark::default(), 64 << 20, true, |_| Ok::<_, Error>(prefix))
                .unwrap();
        assert_eq!((output.written(), output.in_file()), (kept as u64, kept as u64 / 4096 * 4096));
        let mut rest = &bytes[kept..];
        for piece in pieces.into_iter().cycle() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            output.write(now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(output.written(), bytes.len() as u64);
        assert!(output.in_file() < output.written());
        let sha256 = output.finish().unwrap().sha256;
        assert_eq!(sha256, hex::encode(hasher(&bytes).finalize()), "{kept} bytes kept");
        assert!(fs::read(&path).unwrap() == bytes, "{kept} bytes kept");
    }
}

#[test]
fn drained_it_goes_on() {
    let (_guard, dir) = directory();
    let mut output = Output::create(&dir.join("x"), &Mark::default(), 64 << 20, false).unwrap();
    output.write(b"a").unwrap();
    assert_eq!(output.in_file(), 0);
    output.drain().unwrap();
    output.flusher().unwrap().sync().unwrap();
    assert_eq!(output.in_file(), 1);
    assert_eq!(fs::read(dir.join("x.qrun.partial")).unwrap(), b"a");
    output.append(b"bc").unwrap();
    let hasher = Sha256::new_with_prefix(b"abc");
    assert_eq!(output.finish_hashed(hasher).unwrap().sha256, ABC);
    assert_eq!(fs::read(dir.join("x")).unwrap(), b"abc");
}

#[test]
fn what_the_host_cannot_do() {
    let (_guard, dir) = directory();
    let error = Output::create(&dir.join("x"), &Mark::default(), u64::MAX, false).unwrap_err();
    assert!(matches!(error, Error::Refused(_)));
    assert!(error.to_string().contains(&format!("{} bytes are needed", u64::MAX)), "{error}");
    assert!(names(&dir).is_empty());

    let first = Output::create(&dir.join("x"), &Mark::default(), 0, false).unwrap();
    let error = Output::create(&dir.join("x"), &Mark::default(), 0, false).unwrap_err();
    assert!(error.to_string().contains("another process is writing"), "{error}");
    drop(first);

    fs::write(dir.join("file"), b"").unwrap();
    let error = write_atomic(&dir.join("file/x"), b"", false).unwrap_err();
    assert!(matches!(error, Error::Refused(_)));
    std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
    let error = write_atomic(&dir.join("link"), b"", true).unwrap_err();
    assert!(error.to_string().contains("is a symbolic link"), "{error}");
    let error = write_atomic(&dir, b"", true).unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
}

#[test]
fn what_stands_under_the_unfinished_name_and_is_no_unfinished_file_is_left_alone() {
    let (_guard, dir) = directory();
    let (path, precious) = (dir.join("x"), dir.join("precious"));
    fs::write(&precious, "precious").unwrap();
    let partial = Mark::default().partial(&path);
    let made: [&dyn Fn(); 3] = [
        &|| std::os::unix::fs::symlink(&precious, &partial).unwrap(),
        &|| fs::create_dir(&partial).unwrap(),
        &|| assert!(std::process::Command::new("mkfifo").arg(&partial).status().unwrap().success()),
    ];
    for make in made {
        make();
        let error = write_atomic(&path, b"abc", true).unwrap_err();
        assert!(error.to_string().contains(partial.as_str()), "{error}");
        assert!(!path.exists() && fs::symlink_metadata(&partial).is_ok());
        assert!(Mark::default().remove_partial(&path).is_err());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        let _ = fs::remove_dir(&partial).or_else(|_| fs::remove_file(&partial));
    }
    // Names that users choose are not ours.
    fs::write(dir.join("x.partial"), "precious").unwrap();
    write_atomic(&path, b"abc", true).unwrap();
    assert_eq!(fs::read_to_string(dir.join("x.partial")).unwrap(), "precious");
}

#[test]
fn an_unfinished_file_is_removed_under_its_lock_by_whom_it_is_marked_for() {
    let (_guard, dir) = directory();
    let (path, mine, other) = (dir.join("x"), Mark::random(), Mark::random());
    let output = Output::create(&path, &mine, 0, false).unwrap();
    assert!(!mine.remove_partial(&path).unwrap(), "it is being written");
    assert!(!other.remove_partial(&path).unwrap());
    assert!(mine.partial(&path).exists());
    drop(output);
    fs::write(mine.partial(&path), "half").unwrap();
    assert!(!other.remove_partial(&path).unwrap() && mine.partial(&path).exists());
    assert!(mine.pass_partial(&other, &path).unwrap() && other.partial(&path).exists());
    assert!(other.remove_partial(&path).unwrap() && names(&dir).is_empty());
}
