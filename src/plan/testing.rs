//! A small job in a directory of its own, for the tests of plan and exec.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::{Machine, Plan};
use crate::ggml::GgmlType;
use crate::host::HostFacts;
use crate::manifest::{
    Bench, Convert, Evaluate, FailedFormats, Format, HostRequirements, Input, Job, LoadCheck,
    Publish, Quantize, Reference, ReferenceOrigin, Report,
};
use crate::state::{Owner, State};
use crate::steps::{
    ConvertDtype, FormatSpec, NativeMxfp4, OnFallback, SpecialTokens, TensorRule, TokenizerSource,
};

pub struct Workspace {
    _directory: tempfile::TempDir,
    pub path: Utf8PathBuf,
    manifest: Utf8PathBuf,
}

impl Workspace {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(directory.path().join("workspace")).unwrap();
        std::fs::create_dir_all(path.join("checkpoint")).unwrap();
        for (name, text) in [
            ("checkpoint/config.json", "{}"),
            ("checkpoint/model.safetensors", "weights"),
            ("corpus.txt", "In the beginning"),
            ("given.gguf", "a reference"),
        ] {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self { _directory: directory, manifest: path.join("jobs/tiny.toml"), path }
    }

    /// The same directory under another name, which it has now.
    pub fn moved(self, name: &str) -> Self {
        let path = self.path.with_file_name(name);
        std::fs::rename(&self.path, &path).unwrap();
        Self { manifest: path.join("jobs/tiny.toml"), path, ..self }
    }

    /// Whose the steps of its job are.
    pub fn owner(&self) -> Owner<'_> {
        Owner { job: "tiny", manifest: &self.manifest }
    }

    /// Two formats, a given reference and one that the job makes.
    pub fn job(&self) -> Job {
        let at = |name: &str| self.path.join(name);
        Job {
            name: "tiny".into(),
            manifest: self.manifest.clone(),
            manifest_bytes: 100,
            manifest_sha256: "m".repeat(64),
            lock: at("tiny.lock"),
            workspace: self.path.clone(),
            host: HostRequirements::default(),
            input: Input {
                checkpoint: at("checkpoint"),
                sha256: BTreeMap::new(),
                pinned: BTreeMap::new(),
                tokenizer: TokenizerSource::Checkpoint,
            },
            convert: Convert { dtype: ConvertDtype::F32, gguf: Some(at("out/f32.gguf")) },
            quantize: Quantize {
                native_mxfp4: NativeMxfp4::Keep,
                fallback: OnFallback::Warn,
                provenance: false,
                split: None,
                gguf: at("out/{name}-{format}.{timestamp}.gguf").into(),
            },
            formats: vec![format("q4_K_M", true), format("q4_K_S", false)],
            references: vec![
                Reference {
                    name: "stability".into(),
                    gguf: at("given.gguf"),
                    origin: ReferenceOrigin::Given { required: true },
                },
                Reference {
                    name: "quality".into(),
                    gguf: at("out/q8_0.gguf"),
                    origin: ReferenceOrigin::Made(format("q8_0", false).spec),
                },
            ],
            load_check: LoadCheck { timeout: Duration::from_secs(120) },
            bench: Bench {
                warmups: 3,
                runs: 10,
                prompt_tokens: 8,
                generate_tokens: 4,
                out: at("out/bench.json"),
            },
            evaluate: Some(Evaluate {
                corpus: vec![at("corpus.txt")],
                context: 64,
                max_windows: None,
                special_tokens: SpecialTokens::Parse,
                greedy_tokens: 16,
            }),
            publish: Some(Publish {
                to: at("published"),
                only: None,
                failed: FailedFormats::LeaveOut,
                sha256_list: Some(at("list").into()),
            }),
            report: Report { dir: at("reports") },
        }
    }

    /// The plan of `job` over this workspace's state.
    pub fn plan(&self, job: Job) -> Plan {
        Plan::new(job, Some(State::open(&self.path).unwrap()), machine()).unwrap()
    }
}

pub fn format(name: &str, baseline: bool) -> Format {
    Format {
        spec: FormatSpec { name: name.into(), base: name.into(), ..FormatSpec::default() },
        baseline,
    }
}

pub fn rule(pattern: &str, ggml_type: GgmlType) -> TensorRule {
    TensorRule { pattern: pattern.into(), ggml_type }
}

pub fn machine() -> Machine {
    Machine { host: host(), program: "p".repeat(64) }
}

pub fn host() -> HostFacts {
    HostFacts {
        cpu_model: "Abacus".into(),
        architecture: "wood".into(),
        cores: 2,
        threads: 2,
        features: vec!["beads".into()],
        ram_bytes: 8 << 30,
        memory_limit: None,
        available_ram_bytes: 4 << 30,
        kernel: "1.0".into(),
        governor: None,
        load_1m: 0.0,
    }
}
