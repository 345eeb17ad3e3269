//! Which files a job reads and writes: none may be written twice, or written over an input.

use std::ops::Range;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::diagnostic::Problems;
use crate::gguf::whole_path;

/// The files of a job, each with the place in the manifest that names it.
#[derive(Debug, Default)]
pub struct Files {
    inputs: Vec<Named>,
    outputs: Vec<Named>,
    /// Of the outputs the models that quantize writes.
    models: Vec<Named>,
    /// Whether these are written in parts.
    split: bool,
    /// Directories that files are written into.
    directories: Vec<Named>,
    /// Directory that nothing may be written into.
    checkpoint: Option<Utf8PathBuf>,
}

#[derive(Debug)]
struct Named {
    path: Utf8PathBuf,
    /// The key, as `bench.out`.
    key: String,
    span: Range<usize>,
}

impl Files {
    /// Nothing may be written below `directory`.
    pub fn set_checkpoint(&mut self, directory: &Utf8Path) {
        self.checkpoint = Some(directory.to_owned());
    }

    /// The job reads `path`.
    pub fn input(&mut self, path: &Utf8Path, key: impl Into<String>, span: Range<usize>) {
        self.inputs.push(Named { path: path.to_owned(), key: key.into(), span });
    }

    /// The job writes `path`.
    pub fn output(&mut self, path: &Utf8Path, key: impl Into<String>, span: Range<usize>) {
        self.outputs.push(Named { path: path.to_owned(), key: key.into(), span });
    }

    /// The job writes the model `path`, in parts beside that name if models are
    /// [split](Self::set_split).
    pub fn model(&mut self, path: &Utf8Path, key: impl Into<String>, span: Range<usize>) {
        let key = key.into();
        self.models.push(Named { path: path.to_owned(), key: key.clone(), span: span.clone() });
        self.output(path, key, span);
    }

    /// Models are written in parts.
    pub fn set_split(&mut self) {
        self.split = true;
    }

    /// The job writes files into the directory `path`.
    pub fn directory(&mut self, path: &Utf8Path, key: impl Into<String>, span: Range<usize>) {
        self.directories.push(Named { path: path.to_owned(), key: key.into(), span });
    }

    /// Adds a problem for each output that would overwrite an input or another output.
    pub fn check(&self, problems: &mut Problems) {
        for (i, output) in self.outputs.iter().enumerate() {
            let Named { path, key, span } = output;
            if let Some(input) = self.inputs.iter().find(|input| input.path == *path) {
                problems.add(
                    span.clone(),
                    format!("`{key}` would overwrite `{}`: both are {path}", input.key),
                    "this file is an input",
                    Some("write to another path".to_owned()),
                );
            } else if let Some(other) = self.outputs[..i].iter().find(|o| o.path == *path) {
                problems.add(
                    span.clone(),
                    format!("`{key}` and `{}` are the same file: {path}", other.key),
                    "written twice",
                    Some("give each its own path".to_owned()),
                );
            }
        }
        if self.split {
            self.check_parts(problems);
        }
        for Named { path, key, span } in &self.directories {
            if let Some(file) = self.inputs.iter().chain(&self.outputs).find(|f| f.path == *path) {
                problems.add(
                    span.clone(),
                    format!("`{key}` is a directory and `{}` a file: both are {path}", file.key),
                    "the name of a file",
                    Some("name another directory".to_owned()),
                );
            }
        }
        let Some(checkpoint) = &self.checkpoint else { return };
        let mut told = Vec::new();
        for Named { path, key, span } in self.directories.iter().chain(&self.outputs) {
            // A directory and what is written into it come from one line of the manifest.
            if path.starts_with(checkpoint) && !told.contains(span) {
                told.push(span.clone());
                problems.add(
                    span.clone(),
                    format!("`{key}` is inside the checkpoint's directory {checkpoint}"),
                    "would change the input",
                    Some("write to another directory".to_owned()),
                );
            }
        }
    }

    /// Adds a problem for each model of which another file is called a part. How many parts there will
    /// be is not known yet, and which of them it would be no matter.
    fn check_parts(&self, problems: &mut Problems) {
        for Named { path, key, span } in &self.models {
            let part =
                |file: &&Named| whole_path(&file.path).is_some_and(|(whole, ..)| whole == *path);
            if let Some(file) = self.inputs.iter().chain(&self.outputs).find(part) {
                problems.add(
                    span.clone(),
                    format!("`{}` is called a part of `{key}`: {}", file.key, file.path),
                    "written in parts",
                    Some("give each its own path".to_owned()),
                );
            }
        }
    }
}

/// `path` without `.` and `..`, by its text alone. It is absolute.
pub fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut normal = Utf8PathBuf::new();
    for component in path.components() {
        match component {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_by_text() {
        assert_eq!(normal(Utf8Path::new("/a/./b/../../c/d")), "/c/d");
        assert_eq!(normal(Utf8Path::new("/../a/")), "/a");
    }
}
