use std::fs::{self, File};
use std::io;

use super::*;
use crate::steps::ErrorClass;
use crate::steps::Label;
use crate::steps::testing::{Recorder, context};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    (guard, path)
}

/// A file that is to be published, of which nothing is known.
fn abc(dir: &Utf8Path) -> FileToPublish {
    let path = dir.join("abc.gguf");
    fs::write(&path, "abc").unwrap();
    FileToPublish {
        format: "q8_0".to_owned(),
        file: FileDigest { path, bytes: 3, sha256: ABC.to_owned() },
        intact: false,
        there: false,
        although: None,
    }
}

fn spec(dir: &Utf8Path, files: Vec<FileToPublish>) -> PublishSpec {
    PublishSpec {
        formats: Vec::new(),
        files: files.into(),
        left_out: Label::default(),
        to: dir.join("out").into(),
        others: Label::default(),
        sha256_list: Some(dir.join("list.txt").into()),
    }
}

/// A file system that cannot share blocks.
fn no_reflink(_: &File, _: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As good as one that can, to whoever does not count blocks.
fn reflink(mut to: &File, mut from: &File) -> io::Result<()> {
    io::copy(&mut from, &mut to).map(drop)
}

fn publish_with(
    dir: &Utf8Path,
    files: Vec<FileToPublish>,
    reflink: Reflink,
) -> Result<PublishResult, StepError> {
    run_with(&spec(dir, files), &context(&Recorder::new()), reflink)
}

fn publish_to(dir: &Utf8Path, files: Vec<FileToPublish>) -> Result<PublishResult, StepError> {
    publish_with(dir, files, no_reflink)
}

fn made(result: &PublishResult) -> Arrival {
    result.files[0].made
}

fn names(dir: &Utf8Path) -> Vec<String> {
    dir.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect()
}

#[test]
fn copies_lists_and_leaves_what_is_there() {
    let (_guard, dir) = directory();
    let file = abc(&dir);
    let result = publish_to(&dir, vec![file.clone()]).unwrap();
    let place = dir.join("out/abc.gguf");
    assert_eq!(result.files[0].file, FileDigest { path: place.clone(), ..file.file.clone() });
    assert_eq!(made(&result), Arrival::Copy);
    assert_eq!(fs::read(&place).unwrap(), b"abc");
    let line = format!("{ABC}  {place}\n");
    assert_eq!(fs::read_to_string(dir.join("list.txt")).unwrap(), line);
    assert_eq!(result.written_bytes, 3 + line.len() as u64);

    let at = fs::metadata(&place).unwrap().modified().unwrap();
    let spec = PublishSpec { sha256_list: None, ..spec(&dir, vec![file]) };
    let recorder = Recorder::new();
    let result = run(&spec, &context(&recorder)).unwrap();
    assert_eq!(fs::metadata(&place).unwrap().modified().unwrap(), at);
    assert!(recorder.log_lines()[0].contains("with the same SHA-256"));
    assert_eq!((made(&result), result.written_bytes), (Arrival::AlreadyThere, 0));
    assert_eq!(result.to_string(), "1 file there already");
}

#[test]
fn a_reflink_writes_nothing_and_is_read_only_if_its_original_may_have_changed() {
    let (_guard, dir) = directory();
    let place = dir.join("out/abc.gguf");
    let read = |intact, content: &str| {
        let file = FileToPublish { intact, ..abc(&dir) };
        fs::write(&file.file.path, content).unwrap();
        let spec = PublishSpec { sha256_list: None, ..spec(&dir, vec![file]) };
        run_with(&spec, &context(&Recorder::new()), reflink)
    };
    for intact in [true, false] {
        let result = read(intact, "abc").unwrap();
        assert_eq!((made(&result), result.written_bytes), (Arrival::Reflink, 0));
        assert_eq!(result.to_string(), "1 file reflinked");
        assert_eq!(fs::read(&place).unwrap(), b"abc");
        fs::remove_file(&place).unwrap();
    }
    // Whoever says that it is intact has to know: it is not read.
    assert_eq!(made(&read(true, "abd").unwrap()), Arrival::Reflink);
    fs::remove_file(&place).unwrap();
    for (intact, content) in [(false, "abd"), (true, "abcd")] {
        let error = read(intact, content).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
        assert!(error.message.contains("has changed"), "{error}");
        assert!(names(&dir.join("out")).is_empty(), "nothing stays of it");
    }
}

#[test]
fn what_cannot_be_reflinked_is_copied() {
    let (_guard, dir) = directory();
    let half = |mut to: &File, _: &File| {
        io::Write::write_all(&mut to, b"half of something else")?;
        Err(io::ErrorKind::CrossesDevices.into())
    };
    let result = publish_with(&dir, vec![abc(&dir)], half).unwrap();
    assert_eq!(made(&result), Arrival::Copy);
    assert_eq!(fs::read(dir.join("out/abc.gguf")).unwrap(), b"abc");
    assert_eq!(names(&dir.join("out")), ["abc.gguf"]);
}

/// On this machine's own file system, whichever of the two it can.
#[test]
fn a_published_file_survives_the_damage_of_its_original() {
    let (_guard, dir) = directory();
    let file = FileToPublish { intact: true, ..abc(&dir) };
    let result = run(&spec(&dir, vec![file.clone()]), &context(&Recorder::new())).unwrap();
    println!("{:?}", made(&result));
    assert!(matches!(made(&result), Arrival::Reflink | Arrival::Copy));
    fs::write(&file.file.path, "xyz").unwrap();
    assert_eq!(fs::read(dir.join("out/abc.gguf")).unwrap(), b"abc");
}

#[test]
fn what_is_known_to_be_there_is_not_read() {
    let (_guard, dir) = directory();
    publish_to(&dir, vec![abc(&dir)]).unwrap();
    // As long, and only reading shows it: whoever says that it is there has to know.
    fs::write(dir.join("out/abc.gguf"), "xyz").unwrap();
    let known = FileToPublish { there: true, ..abc(&dir) };
    assert_eq!(made(&publish_to(&dir, vec![known]).unwrap()), Arrival::AlreadyThere);
    assert!(publish_to(&dir, vec![abc(&dir)]).is_err());
}

#[test]
fn sha256sum_accepts_the_list() {
    let (_guard, dir) = directory();
    publish_to(&dir, vec![abc(&dir)]).unwrap();
    let checked = std::process::Command::new("sha256sum")
        .args(["-c", "--strict", "list.txt"])
        .current_dir(&dir)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_name_with_a_line_break_is_escaped_as_sha256sum_does() {
    let file = FileDigest { path: "a\\b\nc".into(), bytes: 0, sha256: ABC.to_owned() };
    let lines = list::sha256_lines([file].iter()).unwrap();
    assert_eq!(lines, format!("\\{ABC}  a\\\\b\\nc\n"));
}

#[test]
fn another_file_of_the_name_is_never_overwritten() {
    let (_guard, dir) = directory();
    fs::create_dir(dir.join("out")).unwrap();
    fs::write(dir.join("out/abc.gguf"), "xyz").unwrap();
    let error = publish_to(&dir, vec![abc(&dir)]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Step);
    assert!(error.message.contains("another file has that name"), "{error}");
    assert_eq!(fs::read(dir.join("out/abc.gguf")).unwrap(), b"xyz");
    assert!(!dir.join("list.txt").exists());
}

#[test]
fn a_file_that_changed_is_not_published() {
    let (_guard, dir) = directory();
    let file = abc(&dir);
    fs::write(&file.file.path, "abd").unwrap();
    let error = publish_to(&dir, vec![file.clone()]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Input);
    assert!(error.message.contains("has changed"), "{error}");
    assert!(names(&dir.join("out")).is_empty());
    fs::remove_file(&file.file.path).unwrap();
    let error = publish_to(&dir, vec![file]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Input);
}

#[test]
fn a_file_in_its_place_is_not_copied_onto_itself() {
    let (_guard, dir) = directory();
    fs::create_dir(dir.join("out")).unwrap();
    let file = abc(&dir.join("out"));
    let result = publish_to(&dir, vec![file.clone()]).unwrap();
    assert_eq!(result.files[0].file, file.file);
    assert_eq!(made(&result), Arrival::InPlace);
    assert_eq!(fs::read(dir.join("out/abc.gguf")).unwrap(), b"abc");
    // And not published as what it is not.
    fs::write(dir.join("out/abc.gguf"), "abd").unwrap();
    assert!(publish_to(&dir, vec![file]).unwrap_err().message.contains("has changed"));
}

#[test]
fn two_files_for_one_name_are_refused() {
    let (_guard, dir) = directory();
    fs::create_dir(dir.join("other")).unwrap();
    let error = publish_to(&dir, vec![abc(&dir), abc(&dir.join("other"))]).unwrap_err();
    assert_eq!(error.class, ErrorClass::Usage);
    assert!(!dir.join("out").exists());
}

#[test]
fn what_was_left_out_and_what_stands_beside_it_is_said() {
    let (_guard, dir) = directory();
    fs::create_dir(dir.join("out")).unwrap();
    fs::write(dir.join("out/old.gguf"), "old").unwrap();
    let although = Some("bench:q8_0 failed".to_owned());
    let left_out = BTreeMap::from([("q4_0".to_owned(), "bench:q4_0 failed".to_owned())]);
    let others = ["old.gguf", "gone.gguf"].map(|name| dir.join("out").join(name));
    let spec = PublishSpec {
        left_out: left_out.clone().into(),
        others: others.to_vec().into(),
        ..spec(&dir, vec![FileToPublish { although: although.clone(), ..abc(&dir) }])
    };
    let recorder = Recorder::new();
    let result = run_with(&spec, &context(&recorder), no_reflink).unwrap();
    assert_eq!(result.others, [dir.join("out/old.gguf")]);
    assert_eq!((&result.left_out, &result.files[0].although), (&left_out, &although));
    assert_eq!(result.to_string(), "1 file copied; left out: q4_0 (bench:q4_0 failed)");
    let said = recorder.log_lines().join("\n");
    assert!(said.contains("q8_0 is published although bench:q8_0 failed"), "{said}");
    assert!(said.contains("q4_0 is not published: bench:q4_0 failed"), "{said}");
    assert!(said.contains("1 other file of this job stands in"), "{said}");
    assert!(dir.join("out/old.gguf").is_file());
}
