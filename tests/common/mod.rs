//! Files made from the nano checkpoint, in a directory that goes with the test.

use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use qrun::steps::{
    Context, ConvertDtype, ConvertSpec, Event, EventSink, FormatSpec, NativeMxfp4, OnFallback, Out,
    QuantizeSource, QuantizeSpec, TokenizerSource, convert, quantize,
};

/// A directory for one test.
pub struct Nano {
    directory: tempfile::TempDir,
}

struct Quiet;

impl EventSink for Quiet {
    fn emit(&self, _: Event) {}
}

static RUNNING: AtomicBool = AtomicBool::new(false);

impl Nano {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().join(name)).unwrap()
    }

    /// The checkpoint as a GGUF file: f32, and experts in MXFP4.
    pub fn f32(&self) -> Utf8PathBuf {
        let out = self.path("f32.gguf");
        if !out.exists() {
            let spec = ConvertSpec {
                checkpoint: checkpoint().into(),
                tokenizer: TokenizerSource::Checkpoint,
                dtype: ConvertDtype::F32,
                out: (&out).into(),
                split: None,
                hash_tensors: false,
            };
            convert::run(&spec, &context()).unwrap();
        }
        out
    }

    /// The checkpoint in a format.
    pub fn quantized(&self, format: &str, native_mxfp4: NativeMxfp4) -> Utf8PathBuf {
        let out = self.path(&format!("{format}-{native_mxfp4:?}.gguf"));
        let format =
            FormatSpec { name: format.into(), base: format.to_owned(), ..FormatSpec::default() };
        let source = QuantizeSource::Gguf(self.f32().into());
        let spec = QuantizeSpec {
            source,
            format,
            native_mxfp4,
            fallback: OnFallback::Warn,
            provenance: None,
            out: Out { path: out.clone(), replace: true },
            split: None,
            hash_tensors: false,
        };
        quantize::run(&spec, &context()).unwrap();
        out
    }
}

fn checkpoint() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt-oss-nano")
}

fn context() -> Context<'static> {
    Context::new(&Quiet, &RUNNING, 2)
}
