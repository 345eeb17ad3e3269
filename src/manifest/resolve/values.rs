//! Single values: words, numbers, times, names and paths.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use toml::Spanned;

use super::Resolver;
use crate::manifest::files::normal;
use crate::manifest::{path_text, template};
use crate::words::did_you_mean;

impl Resolver<'_> {
    pub(super) fn timeout(&mut self, text: &Spanned<String>) -> Duration {
        let parsed = humantime::parse_duration(text.get_ref()).ok().filter(|d| !d.is_zero());
        parsed.unwrap_or_else(|| {
            self.problems.add(
                text.span(),
                format!("{:?} is not a time to wait", text.get_ref()),
                "expected a number and a unit",
                Some("for example \"120s\" or \"5m\"".to_owned()),
            );
            Duration::ZERO
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        word: &Spanned<String>,
        what: &str,
        choices: &[(&str, T)],
    ) -> T {
        if let Some((_, value)) = choices.iter().find(|(name, _)| name == word.get_ref()) {
            return *value;
        }
        let names = choices.iter().map(|(name, _)| *name);
        let all: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
        self.problems.add(
            word.span(),
            format!("unknown {what} {:?}", word.get_ref()),
            format!("expected {}", all.join(" or ")),
            did_you_mean(word.get_ref(), names),
        );
        T::default()
    }

    pub(super) fn at_least(&mut self, least: u32, number: &Spanned<u32>, key: &str) -> u32 {
        if *number.get_ref() < least {
            let message = format!("`{key}` is {}", number.get_ref());
            self.problems.add(number.span(), message, format!("at least {least}"), None);
        }
        *number.get_ref()
    }

    /// A name that can stand in a file name on every system.
    pub(super) fn check_name(&mut self, name: &Spanned<String>, of: &str) {
        let text = name.get_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(legal) {
            let message = format!("{text:?} cannot be the name of a {of}");
            let help = "a letter or digit, then letters, digits, `-`, `_` and `.`".to_owned();
            self.problems.add(name.span(), message, "stands in file names", Some(help));
        }
    }

    /// An absolute path without dots.
    pub(super) fn path(&mut self, text: &Spanned<String>) -> Utf8PathBuf {
        path_text::check_spanned(text, self.problems);
        normal(&self.workspace.join(text.get_ref()))
    }

    /// Adds a problem if files cannot be written into `directory`, which `text` names, because it,
    /// or what stands where one of the directories above it belongs, is a file.
    fn refuse_file_as_directory(&mut self, directory: &Utf8Path, text: &Spanned<String>) {
        let there = directory.ancestors().find(|path| path.exists());
        if let Some(file) = there.filter(|path| !path.is_dir()) {
            let message = format!("{file} is a file, not a directory");
            let help = "name another directory, or move the file away".to_owned();
            self.problems.add(text.span(), message, "nothing can be written there", Some(help));
        }
    }

    /// The absolute path of a file that the job writes, with `{name}` filled in.
    pub(super) fn output(&mut self, text: &Spanned<String>, key: impl Into<String>) -> Utf8PathBuf {
        let path = self.output_path(text);
        self.files.output(&path, key, text.span());
        path
    }

    /// The same of a model that quantize writes.
    pub(super) fn model(&mut self, text: &Spanned<String>, key: impl Into<String>) -> Utf8PathBuf {
        let path = self.output_path(text);
        self.files.model(&path, key, text.span());
        path
    }

    fn output_path(&mut self, text: &Spanned<String>) -> Utf8PathBuf {
        let path = Utf8PathBuf::from(self.template(text, &["name"]));
        if path.is_dir() {
            let message = format!("{path} is a directory");
            self.problems.add(text.span(), message, "expected a file", None);
        }
        path
    }

    /// The absolute path of a directory that the job writes into.
    pub(super) fn directory(&mut self, text: &Spanned<String>, key: &str) -> Utf8PathBuf {
        let path = Utf8PathBuf::from(self.filled(text, &["name"]));
        self.refuse_file_as_directory(&path, text);
        self.files.directory(&path, key, text.span());
        path
    }

    /// The absolute path of a file with `{name}` filled in and the other `allowed` placeholders
    /// left.
    pub(super) fn template(&mut self, text: &Spanned<String>, allowed: &[&str]) -> String {
        if text.get_ref().ends_with('/') {
            let message = format!("{:?} is a directory", text.get_ref());
            self.problems.add(text.span(), message, "expected a file", None);
        }
        let path = self.filled(text, allowed);
        if let Some(directory) = Utf8Path::new(&path).parent() {
            self.refuse_file_as_directory(directory, text);
        }
        path
    }

    fn filled(&mut self, text: &Spanned<String>, allowed: &[&str]) -> String {
        // The braces of a shell's variable are no placeholder's.
        if path_text::check(text.get_ref()).is_ok() {
            template::check(text, allowed, self.problems);
        }
        template::fill(self.path(text).as_str(), &[("name", &self.name)])
    }
}
