//! The nano checkpoint's f32 file with other metadata, or other tensors.

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use camino::Utf8PathBuf;
use qrun::gguf::{File, Layout, Metadata, TensorInfo, TensorSource};
use qrun::steps::{
    Context, ConvertDtype, ConvertSpec, Event, EventSink, Level, TokenizerSource, convert,
};

/// Tensors of a file and their data.
pub type Tensors = Vec<(TensorInfo, Vec<u8>)>;

/// Keeps what a step warns of.
#[derive(Default)]
pub struct Warnings(std::sync::Mutex<Vec<String>>);

impl EventSink for Warnings {
    fn emit(&self, event: Event) {
        if let Event::Log { level: Level::Warn, message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

static RUNNING: AtomicBool = AtomicBool::new(false);

impl Warnings {
    /// A context whose warnings are kept here.
    pub fn context(&self) -> Context<'_> {
        Context::new(self, &RUNNING, 2)
    }

    /// What was warned of.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A directory that goes with the test's process, and the unedited file in it.
static NANO: LazyLock<(tempfile::TempDir, Utf8PathBuf)> = LazyLock::new(|| {
    let guard = tempfile::tempdir().unwrap();
    let out = Utf8PathBuf::from_path_buf(guard.path().join("f32.gguf")).unwrap();
    let spec = ConvertSpec {
        checkpoint: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano").into(),
        tokenizer: TokenizerSource::Checkpoint,
        dtype: ConvertDtype::F32,
        out: (&out).into(),
        split: None,
        hash_tensors: false,
    };
    convert::run(&spec, &Warnings::default().context()).unwrap();
    (guard, out)
});

/// A path in that directory.
pub fn path(name: &str) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(NANO.0.path().join(name)).unwrap()
}

/// The file, edited, under `name`.
pub fn edited(name: &str, edit: impl FnOnce(&mut Metadata, &mut Tensors)) -> Utf8PathBuf {
    let file = File::open(&NANO.1).unwrap();
    let mut metadata = file.metadata().clone();
    let mut tensors: Tensors = file
        .tensors()
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), file.data(i).to_vec()))
        .collect();
    edit(&mut metadata, &mut tensors);
    let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
    let layout = Layout::new(&metadata, &infos).unwrap();
    let mut bytes = vec![0; layout.file_bytes() as usize];
    bytes[..layout.header().len()].copy_from_slice(layout.header());
    for (i, (_, data)) in tensors.iter().enumerate() {
        bytes[layout.offset(i) as usize..][..data.len()].copy_from_slice(data);
    }
    let out = path(name);
    std::fs::write(&out, bytes).unwrap();
    out
}
