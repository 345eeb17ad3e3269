//! A checkpoint's directory: its `config.json`, and its safetensors files as one set of tensors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::Error;
use super::safetensors::{Entry, SafetensorsFile};
use crate::arch::{Architecture, Config, Hyper};
use crate::downloads::{json, names_in, read_text};
use crate::files::Map;

/// Names the file of each tensor, where a checkpoint has several.
const INDEX: &str = "model.safetensors.index.json";

/// Where Hugging Face's downloader keeps what it has not finished.
const DOWNLOADS: &str = ".cache/huggingface/download";

/// Longest JSON file that is read, in bytes.
pub(super) const MAX_JSON: u64 = 100_000_000;

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    directory: Utf8PathBuf,
    config: Config,
    files: Vec<SafetensorsFile>,
    /// Tensor name to file and entry.
    by_name: HashMap<String, (usize, usize)>,
}

/// A tensor of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Number of the file, in the order of their names.
    pub file: usize,
    pub path: &'a Utf8Path,
    pub entry: &'a Entry,
    /// Its data, slowest dimension first.
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Opens the checkpoint in `directory`: reads `config.json`, maps every safetensors file and
    /// checks headers and index. Tensors are held against the configuration by
    /// [`super::Converted`].
    ///
    /// # Errors
    /// Whatever is missing, damaged or contradictory.
    pub fn open(directory: &Utf8Path) -> Result<Self, Error> {
        let config_path = directory.join("config.json");
        if !config_path.exists() {
            return Err(missing_config(directory));
        }
        let text = read_text(&config_path, MAX_JSON)?;
        let config = Config::from_json(&json::quote_constants(&text))
            .map_err(|source| Error::Config { path: config_path, source })?;

        let set = WeightFiles::list(directory)?;
        let mut files = Vec::with_capacity(set.names.len());
        let mut by_name = HashMap::new();
        for name in &set.names {
            let file = SafetensorsFile::open(&directory.join(name))?;
            for (number, entry) in file.tensors.iter().enumerate() {
                if let Some((other, _)) = by_name.insert(entry.name.clone(), (files.len(), number))
                {
                    return Err(Error::Tensor {
                        path: file.path.clone(),
                        tensor: entry.name.clone(),
                        expected: "every name once".into(),
                        found: format!("a second one in {}", set.names[other]),
                    });
                }
            }
            files.push(file);
        }
        let checkpoint = Self { directory: directory.to_owned(), config, files, by_name };
        if let Some(index) = &set.index {
            checkpoint.check_index(index, &set.names)?;
        }
        Ok(checkpoint)
    }

    /// The names of the files in `directory` that decide what a conversion writes, weights first;
    /// the tokenizer's are not among them.
    ///
    /// # Errors
    /// If the directory holds no complete checkpoint, judged by names alone.
    pub fn file_names(directory: &Utf8Path) -> Result<Vec<String>, Error> {
        if !directory.join("config.json").exists() {
            return Err(missing_config(directory));
        }
        let set = WeightFiles::list(directory)?;
        let mut names = set.names;
        for extra in [INDEX, "config.json", "generation_config.json", "README.md"] {
            if directory.join(extra).is_file() {
                names.push(extra.to_owned());
            }
        }
        Ok(names)
    }

    /// Where it is.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Its hyperparameters.
    pub fn config(&self) -> &Hyper {
        &self.config.hyper
    }

    /// Its architecture.
    pub fn architecture(&self) -> &'static Architecture {
        self.config.architecture
    }

    /// What its `config.json` says it is.
    pub(super) fn described(&self) -> &Config {
        &self.config
    }

    /// The tensor with this name.
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        let &(file, number) = self.by_name.get(name)?;
        let entry = &self.files[file].tensors[number];
        let bytes = &self.files[file].map[entry.range.clone()];
        Some(Found { file, path: &self.files[file].path, entry, bytes })
    }

    /// Every tensor's name, file by file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|f| f.tensors.iter().map(|t| t.name.as_str()))
    }

    /// The file that holds a tensor, and where in it the bytes `part` of the tensor's data are.
    pub fn place(&self, name: &str, part: Range<usize>) -> Option<(&Map, Range<usize>)> {
        let &(file, number) = self.by_name.get(name)?;
        let data = &self.files[file].tensors[number].range;
        let at = |offset: usize| data.end.min(data.start.saturating_add(offset));
        Some((&self.files[file].map, at(part.start)..at(part.end)))
    }

    /// Holds the index against what the files hold.
    fn check_index(&self, index: &BTreeMap<String, String>, names: &[String]) -> Result<(), Error> {
        for (tensor, file) in index {
            match self.by_name.get(tensor) {
                Some(&(found, _)) if names[found] == *file => {}
                Some(&(found, _)) => {
                    return Err(Error::Tensor {
                        path: self.directory.join(INDEX),
                        tensor: tensor.clone(),
                        expected: format!("its data in {file}"),
                        found: format!("it in {}", names[found]),
                    });
                }
                None => {
                    return Err(Error::MissingTensor {
                        directory: self.directory.clone(),
                        tensor: tensor.clone(),
                        why: format!("{INDEX} says it is in {file}, which does not hold it"),
                    });
                }
            }
        }
        if let Some(extra) = self.names().find(|n| !index.contains_key(*n)) {
            return Err(Error::Tensor {
                path: self.directory.join(INDEX),
                tensor: extra.to_owned(),
                expected: "an entry for every tensor".into(),
                found: "none for this one".into(),
            });
        }
        Ok(())
    }
}

/// The safetensors files of a directory, by name alone.
struct WeightFiles {
    /// File names, sorted.
    names: Vec<String>,
    /// Tensor name to file name, where there is an index.
    index: Option<BTreeMap<String, String>>,
}

impl WeightFiles {
    fn list(directory: &Utf8Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: directory.to_owned(), source };
        let mut present: BTreeSet<String> = names_in(directory).map_err(io)?.into_iter().collect();
        present.retain(|name| name.ends_with(".safetensors"));
        let mut model = present.clone();
        model.retain(|name| name.starts_with("model"));
        if directory.join(INDEX).is_file() {
            return Self::from_index(directory, &model);
        }
        if model.is_empty() {
            let mut hint = "; expected a directory with config.json and the weights".to_owned();
            if let Some(other) = present.first() {
                hint = format!(
                    "; it has {other}, which is read only under the name model.safetensors, or if \
                     {INDEX} names it"
                );
            }
            return Err(Error::Missing {
                directory: directory.to_owned(),
                what: "model*.safetensors".into(),
                hint,
            });
        }
        check_shard_numbers(directory, &model)?;
        Ok(Self { names: model.into_iter().collect(), index: None })
    }

    /// The files that the index names, whatever they are called. `model` are those that would be
    /// read without it.
    fn from_index(directory: &Utf8Path, model: &BTreeSet<String>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let path = directory.join(INDEX);
        let index: Index = json::from_str(&read_text(&path, MAX_JSON)?)
            .map_err(|source| Error::Json { path: path.clone(), what: "the index", source })?;
        let damaged = |expected: String, found: String| Error::Damaged {
            path: path.clone(),
            what: "weight_map".into(),
            expected,
            found,
        };
        let named: BTreeSet<String> = index.weight_map.values().cloned().collect();
        if named.is_empty() {
            return Err(damaged("an entry for every tensor".into(), "none".into()));
        }
        for name in &named {
            let mut parts = Utf8Path::new(name).components();
            let plain = matches!(
                (parts.next(), parts.next()),
                (Some(Utf8Component::Normal(part)), None) if part == name
            );
            if !plain {
                return Err(damaged("names of files beside it".into(), format!("{name:?}")));
            }
            if !directory.join(name).is_file() {
                return Err(Error::Missing {
                    directory: directory.to_owned(),
                    what: name.clone(),
                    hint: format!(", which {INDEX} names; {}", how_to_get(directory, name)),
                });
            }
        }
        if let Some(extra) = model.difference(&named).next() {
            return Err(damaged(
                format!("an entry for every file of {directory}"),
                format!(
                    "none for {extra}; remove that file if it is left over, or {INDEX} if the \
                     weights are not those that it names"
                ),
            ));
        }
        Ok(Self { names: named.into_iter().collect(), index: Some(index.weight_map) })
    }
}

/// What to do about a file that an index names and that is not there.
fn how_to_get(directory: &Utf8Path, name: &str) -> String {
    if let Ok(target) = directory.join(name).read_link_utf8() {
        return format!("it is a link to {target}, which is not there; download it again");
    }
    let unfinished = names_in(&directory.join(DOWNLOADS)).unwrap_or_default();
    if unfinished.iter().any(|n| n.ends_with(".incomplete")) {
        return format!("a download into {DOWNLOADS} is not finished; run it again");
    }
    "download it again".to_owned()
}

/// Without an index, `-00001-of-00003` in the names says whether shards are missing.
fn check_shard_numbers(directory: &Utf8Path, present: &BTreeSet<String>) -> Result<(), Error> {
    for name in present {
        let Some((stem, count)) =
            name.strip_suffix(".safetensors").and_then(|n| n.rsplit_once("-of-"))
        else {
            continue;
        };
        let Some((stem, number)) = stem.rsplit_once('-') else { continue };
        let (Ok(total), Ok(_)) = (count.parse::<u32>(), number.parse::<u32>()) else { continue };
        // The names that are there bound the search: one more than them must be missing.
        for i in 1..=total.min(present.len() as u32 + 1) {
            let width = number.len();
            let expected = format!("{stem}-{i:0width$}-of-{count}.safetensors");
            if !present.contains(&expected) {
                return Err(Error::Missing {
                    directory: directory.to_owned(),
                    what: expected,
                    hint: format!(", one of the {total} parts that {name} is of"),
                });
            }
        }
    }
    Ok(())
}

fn missing_config(directory: &Utf8Path) -> Error {
    let hint = if directory.is_dir() {
        "; expected the directory of a checkpoint: config.json and *.safetensors"
    } else if directory.exists() {
        "; it is a file, and expected is the directory of a checkpoint (`qrun quantize` reads GGUF files)"
    } else {
        "; the directory does not exist"
    };
    Error::Missing {
        directory: directory.to_owned(),
        what: "config.json".into(),
        hint: hint.into(),
    }
}
