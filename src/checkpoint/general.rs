//! What a converted file says of the model as a whole, as `general.*`: from the model card, from the
//! name in `config.json`, and from the directory's name, in that order, as gguf-py's `Metadata`
//! gathers and writes it.

use camino::Utf8Path;
use serde::Deserialize;
use serde_json::Value as Json;

use super::error::Error;
use super::index::MAX_JSON;
use super::model_card::{ModelCard, Related};
use super::model_id::{ModelId, computed_size_label, title};
use crate::arch::{Kind, Part};
use crate::downloads::{json, read_text_if_there};
use crate::gguf::{Array, Metadata, TensorInfo, Value};

/// Appends the keys of the model in `directory` with these tensors. What cannot be carried over is
/// told in `warnings`.
///
/// # Errors
/// If a file is there and cannot be read.
pub fn write(
    directory: &Utf8Path,
    tensors: &[TensorInfo],
    m: &mut Metadata,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let count = Parameters::count(tensors);
    let card = ModelCard::read(directory, warnings)?;
    let mut names = Names::of(&card);
    if let Some(id) = name_in_config(directory)? {
        names.fill(ModelId::parse(&id, count.total));
    }
    names.fill(ModelId::parse(&model_name(directory), count.total));
    let size_label = names.size_label.unwrap_or_else(|| match count.experts {
        0 => computed_size_label(count.total, 0),
        experts => computed_size_label(count.shared + count.one_expert, experts),
    });

    let mut set = |key: &str, value: Option<String>| {
        // As gguf-py: nothing is not written.
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            m.set(format!("general.{key}"), Value::String(value));
        }
    };
    let own = |key: &str| card.text(&[key, &format!("model_{key}")]);
    set("name", names.name);
    set("author", card.text(&["author", "model_author", "model_creator"]));
    set("version", names.version);
    set("organization", names.organization);
    set("finetune", names.finetune);
    set("basename", names.basename);
    set("description", own("description"));
    set("size_label", Some(size_label));
    set("license", card.license());
    set("license.name", card.text(&["license_name"]));
    set("license.link", card.text(&["license_link"]));
    for key in ["url", "doi", "uuid", "repo_url"] {
        set(&format!("source.{key}"), own(key));
    }
    let models = card.related(&["base_model", "base_models", "base_model_sources"], count.total);
    write_related("base_model", models, m);
    let sets = card.related(&["datasets", "dataset", "dataset_sources"], count.total);
    write_related("dataset", sets, m);
    for (key, sources) in
        [("tags", ["tags", "pipeline_tag"]), ("languages", ["languages", "language"])]
    {
        let values = card.all(&sources);
        if !values.is_empty() {
            m.set(format!("general.{key}"), Value::Array(Array::String(values)));
        }
    }
    Ok(())
}

/// What is taken from names where the card does not say it.
struct Names {
    name: Option<String>,
    version: Option<String>,
    organization: Option<String>,
    finetune: Option<String>,
    basename: Option<String>,
    size_label: Option<String>,
}

impl Names {
    fn of(card: &ModelCard) -> Self {
        let own = |key: &str| card.text(&[key, &format!("model_{key}")]);
        Self {
            name: own("name"),
            version: own("version"),
            organization: own("organization"),
            finetune: own("finetune"),
            basename: card.text(&["basename", "model_basename", "model_type"]),
            size_label: own("size_label"),
        }
    }

    /// Takes from `id` what is not known yet.
    fn fill(&mut self, id: ModelId) {
        let fill = |known: &mut Option<String>, value: Option<String>| {
            if known.is_none() {
                *known = value;
            }
        };
        fill(&mut self.name, Some(title(&id.full_name)));
        fill(&mut self.organization, id.organization.map(|o| title(&o)));
        fill(&mut self.basename, id.basename);
        fill(&mut self.finetune, id.finetune);
        fill(&mut self.version, id.version);
        fill(&mut self.size_label, id.size_label);
    }
}

/// Appends base models or data sets: their number, and what is known of each.
fn write_related(kind: &str, related: Option<Vec<Related>>, m: &mut Metadata) {
    let Some(related) = related else { return };
    m.set(format!("general.{kind}.count"), Value::U32(related.len() as u32));
    for (number, fields) in related.into_iter().enumerate() {
        for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            m.set(format!("general.{kind}.{number}.{key}"), Value::String(value));
        }
    }
}

/// `_name_or_path` in `config.json`, where it is a name and no path.
fn name_in_config(directory: &Utf8Path) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Origin {
        _name_or_path: Option<Json>,
    }
    let path = directory.join("config.json");
    let Some(text) = read_text_if_there(&path, MAX_JSON)? else { return Ok(None) };
    let origin: Origin = json::from_str(&text).map_err(|source| Error::Json {
        path,
        what: "the configuration",
        source,
    })?;
    let name = origin._name_or_path.and_then(|name| Some(name.as_str()?.to_owned()));
    Ok(name.filter(|name| name.matches('/').count() <= 1))
}

/// The name of the model in `directory`, from which `general.name` and others are taken: the
/// directory's own name, be it a link or not; that of its parent where it is called `original`, as
/// published.
pub fn model_name(directory: &Utf8Path) -> String {
    let name = |directory: &Utf8Path| -> Option<String> {
        // What ends in `..`, or is nothing but `.`, has its name on disk only.
        let full = directory.canonicalize_utf8().ok();
        directory.file_name().or_else(|| full.as_ref()?.file_name()).map(str::to_owned)
    };
    let named = match name(directory) {
        Some(original) if original == "original" => match directory.parent() {
            Some(parent) if !parent.as_str().is_empty() => name(parent),
            _ => name(&directory.join("..")),
        },
        other => other,
    };
    named.unwrap_or_else(|| "gpt-oss".to_owned())
}

/// Parameters of a model, counted as gguf-py counts them.
struct Parameters {
    total: u64,
    shared: u64,
    /// Those of one expert of every layer.
    one_expert: u64,
    /// Experts in a layer; zero without.
    experts: u64,
}

impl Parameters {
    fn count(tensors: &[TensorInfo]) -> Self {
        let mut count = Self { total: 0, shared: 0, one_expert: 0, experts: 0 };
        let (mut expert_sum, mut expert_tensors) = (0u64, 0);
        for tensor in tensors {
            let elements = tensor.elements();
            count.total += elements;
            let (part, kind) = Part::of(&tensor.name).unzip();
            // A bias of the experts counts as shared.
            if part.is_some_and(Part::is_of_experts) && kind == Some(Kind::Weight) {
                count.one_expert += elements / tensor.shape[2];
                expert_sum += tensor.shape[2];
                expert_tensors += 1;
            } else {
                count.shared += elements;
            }
        }
        count.experts = expert_sum.checked_div(expert_tensors).unwrap_or(0);
        count
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::ggml::GgmlType;

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(guard.path().canonicalize().unwrap()).unwrap();
        (guard, path)
    }

    /// The keys of a model of so many parameters.
    fn general(directory: &Utf8Path, parameters: u64) -> (Metadata, Vec<String>) {
        let shape = vec![parameters];
        let tensors = [TensorInfo::new("x", GgmlType::F32, shape)];
        let (mut metadata, mut warnings) = (Metadata::default(), Vec::new());
        write(directory, &tensors, &mut metadata, &mut warnings).unwrap();
        (metadata, warnings)
    }

    /// What `scripts/make_model_cards.py` had gguf-py write.
    #[derive(Deserialize)]
    struct Case {
        shows: String,
        directory: String,
        parameters: u64,
        card: String,
        config: Json,
        keys: Vec<(String, String, Json)>,
    }

    #[test]
    fn cards_become_what_llama_cpps_converter_makes_of_them() {
        let oracle = include_str!("../../tests/fixtures/oracle/model_cards.json");
        let cases: Vec<Case> = serde_json::from_str(oracle).unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let (_guard, parent) = directory();
            let at = parent.join(&case.directory);
            std::fs::create_dir(&at).unwrap();
            let card = format!("---\n{}---\n\n# Title\nlicense: none\n", case.card);
            std::fs::write(at.join("README.md"), card).unwrap();
            std::fs::write(at.join("config.json"), case.config.to_string()).unwrap();
            let (metadata, warnings) = general(&at, case.parameters);
            let found: Vec<(String, String, Json)> = metadata
                .iter()
                .map(|(key, value)| {
                    let (kind, value) = match value {
                        Value::String(text) => ("STRING", text.as_str().into()),
                        Value::U32(number) => ("UINT32", (*number).into()),
                        Value::Array(Array::String(items)) => ("ARRAY", items.clone().into()),
                        other => panic!("unexpected {other:?}"),
                    };
                    (key.to_owned(), kind.to_owned(), value)
                })
                .collect();
            assert_eq!(found, case.keys, "{}", case.shows);
            assert!(warnings.is_empty(), "{}: {warnings:?}", case.shows);
        }
    }

    #[test]
    fn a_card_that_cannot_be_understood_is_told_and_costs_its_keys_only() {
        for (card, reason) in [
            (&b"---\nlicense: [mit\n---\n"[..], "not YAML"),
            (b"---\n- mit\n---\n", "no list of keys and values"),
            (b"---\nlicense: \xff\n---\n", "not UTF-8 text: wrong at byte 13"),
            (b"version https://git-lfs.github.com/spec/v1\nsize 7000\n", "Git LFS pointer"),
        ] {
            let (_guard, at) = directory();
            std::fs::write(at.join("README.md"), card).unwrap();
            let (metadata, warnings) = general(&at, 1000);
            assert!(metadata.str("general.name").is_some());
            assert_eq!(metadata.str("general.license"), None);
            let [warning] = &warnings[..] else { panic!("{warnings:?}") };
            assert!(warning.contains("README.md") && warning.contains(reason), "{warning}");
        }
    }

    #[test]
    fn a_linked_directory_has_the_links_name() {
        let (_guard, at) = directory();
        std::fs::create_dir_all(at.join("blobs/original")).unwrap();
        std::os::unix::fs::symlink("blobs", at.join("gpt-oss-20b")).unwrap();
        let linked = at.join("gpt-oss-20b");
        for (path, name) in [
            (linked.clone(), "gpt-oss-20b"),
            (at.join("gpt-oss-20b/."), "gpt-oss-20b"),
            (at.join("gpt-oss-20b/"), "gpt-oss-20b"),
            (linked.join("original"), "gpt-oss-20b"),
            (linked.join("original/.."), "blobs"),
            (at.join("blobs"), "blobs"),
            (Utf8PathBuf::from("/"), "gpt-oss"),
        ] {
            assert_eq!(model_name(&path), name, "{path}");
        }
        // Of the working directory, which is the crate's own, whatever that is called.
        let here = std::env::current_dir().unwrap();
        let here = here.file_name().unwrap().to_str().unwrap();
        assert_eq!(model_name(Utf8Path::new(".")), here);
        assert_eq!(model_name(Utf8Path::new("src/..")), here);
    }
}
