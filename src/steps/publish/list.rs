//! The list of digests, as `sha256sum` writes it.

use crate::files::FileDigest;
use crate::steps::StepError;
use crate::steps::context::from_here;

/// Lines that `sha256sum -c` reads from the workspace: digest, two spaces, path.
///
/// # Errors
/// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if the working directory is gone.
pub fn sha256_lines<'a>(files: impl Iterator<Item = &'a FileDigest>) -> Result<String, StepError> {
    let mut lines = String::new();
    for file in files {
        let path = from_here(&file.path)?;
        // As GNU sha256sum escapes names that would break a line.
        if path.as_str().contains(['\\', '\n', '\r']) {
            let path = path.as_str().replace('\\', "\\\\").replace('\n', "\\n");
            let path = path.replace('\r', "\\r");
            lines.push_str(&format!("\\{}  {path}\n", file.sha256));
        } else {
            lines.push_str(&format!("{}  {path}\n", file.sha256));
        }
    }
    Ok(lines)
}
