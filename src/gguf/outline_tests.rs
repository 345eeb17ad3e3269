//! Reading a header without its long lists.

use super::*;

#[test]
fn an_outline_knows_the_length_of_what_it_leaves_out() {
    let (mut metadata, tensors) = sample();
    let short = metadata.clone();
    let many = |text: &str| Value::Array(Array::String(vec![text.to_owned(); 1025]));
    metadata.set("v.texts", many("Ġthe"));
    metadata.set("v.empty", many(""));
    metadata.set("v.i32", Value::Array(Array::I32(vec![7; 2000])));
    metadata.set("v.bool", Value::Array(Array::Bool(vec![true; 1500])));
    metadata.set("v.f64", Value::Array(Array::F64(vec![0.5; 1030])));
    let bytes = file_bytes(&metadata, &tensors);
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().join("x.gguf")).unwrap();
    std::fs::write(&path, &bytes).unwrap();

    let outline = File::outline(&path).unwrap();
    assert!(outline.metadata().entries().eq(short.entries()));
    assert_eq!(outline.tensors(), tensors);
    let layout = Layout::new(outline.metadata(), &tensors).unwrap();
    assert_eq!(layout.file_bytes(), bytes.len() as u64);
    assert_eq!(layout.offset(2), Layout::new(&metadata, &tensors).unwrap().offset(2));
    assert!(layout.header().is_empty());
    let len = |key| outline.metadata().left_out_len(key);
    assert_eq!((len("v.i32"), len("v.empty"), len("a.u8")), (Some(2000), Some(1025), None));
    assert_eq!(File::open(&path).unwrap().metadata(), &metadata);

    // What is left out is damaged like what is kept.
    let mut torn = bytes[..2000].to_vec();
    std::fs::write(&path, &torn).unwrap();
    let message = |open: Result<File, Error>| open.unwrap_err().to_string();
    assert_eq!(message(File::outline(&path)), message(File::open(&path)));
    torn = bytes;
    patch_u32_behind(&mut torn, b"v.i32", 4, 77);
    std::fs::write(&path, &torn).unwrap();
    assert_eq!(message(File::outline(&path)), message(File::open(&path)));
}

/// Replaces the number that is `skip` bytes behind the only occurrence of `text`.
fn patch_u32_behind(bytes: &mut [u8], text: &[u8], skip: usize, number: u32) {
    let at = bytes.windows(text.len()).position(|w| w == text).unwrap() + text.len() + skip;
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
