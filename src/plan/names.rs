//! Names of outputs: the manifest's templates filled in, and recognized again.

use camino::{Utf8Path, Utf8PathBuf};

use super::layout::Target;
use crate::gguf::whole_path;
use crate::manifest::Job;

/// `{timestamp}`: the UTC time at which a file is made, `yyyymmdd_hhmmss`.
const TIMESTAMP: &str = "{timestamp}";

/// Where a target's file goes: a path that may have `{timestamp}` in it.
pub fn model_template(job: &Job, target: Target) -> String {
    match target {
        Target::Format(format) => job
            .quantize
            .gguf
            .replace("{name}", &job.name)
            .replace("{format}", &job.formats[format].spec.name),
        Target::Reference(reference) => job.references[reference].gguf.to_string(),
    }
}

/// Where the list of digests goes, with `{timestamp}`.
pub fn list_template(job: &Job) -> Option<String> {
    let list = job.publish.as_ref()?.sha256_list.as_ref()?;
    Some(list.replace("{name}", &job.name))
}

/// The name that a file made at `now` gets.
pub fn expand(template: &str, now: jiff::Timestamp) -> Utf8PathBuf {
    template.replace(TIMESTAMP, &now.strftime("%Y%m%d_%H%M%S").to_string()).into()
}

/// Whether `path` is `template` at some time.
pub fn matches(template: &str, path: &Utf8Path) -> bool {
    let Some((before, _)) = template.split_once(TIMESTAMP) else { return template == path };
    let stamp = path.as_str().strip_prefix(before).and_then(|rest| rest.get(..15));
    stamp.is_some_and(|stamp| {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let well_formed = stamp
            .split_once('_')
            .is_some_and(|(date, time)| date.len() == 8 && digits(date) && digits(time));
        well_formed && template.replace(TIMESTAMP, stamp) == path.as_str()
    })
}

/// What the file at `path` was named after: itself, or where files are `split` the name that its model
/// would have in one file.
pub fn named_after(path: &Utf8Path, split: bool) -> Utf8PathBuf {
    let whole = if split { whole_path(path) } else { None };
    whole.map_or_else(|| path.to_owned(), |(whole, ..)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_recognized_whatever_its_time() {
        let template = "/w/a-{timestamp}.gguf";
        let made = expand(template, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(made, "/w/a-19700101_000000.gguf");
        assert!(matches(template, &made));
        for other in [
            "/w/a-19700101-000000.gguf",
            "/w/b-19700101_000000.gguf",
            "/w/a-19700101_000000.x",
            "/w/a-",
        ] {
            assert!(!matches(template, Utf8Path::new(other)), "{other}");
        }
        assert!(matches("/w/a", Utf8Path::new("/w/a")));
        assert!(!matches("/w/a", Utf8Path::new("/w/b")));
    }
}
