//! How much memory this process may have of what the machine has: the limits of its control groups,
//! of version 1 and 2, from its own up to the root, and its resource limits. Schedulers, service
//! managers and containers set them, and the kernel kills what goes beyond. Knows nothing of how much
//! the machine has.
//!
//! Swap does not count: what was swapped out is not in memory when it is wanted.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryLimit {
    pub bytes: u64,
    /// What sets it: the control group's file, or the resource limit.
    pub by: String,
}

/// A limit, and what of it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    pub limit: MemoryLimit,
    /// Bytes, without what can be taken back, such as the cache of files.
    pub used: u64,
}

/// Every limit that this process is under, the smallest first.
pub fn limits() -> Vec<Limited> {
    let root = Path::new("/");
    let mut limits = group_limits(root);
    limits.extend(resource_limits(root));
    // The group that sets a limit tells it better than one below that only knows of it.
    limits.sort_by_key(|l| (l.limit.bytes, l.limit.by.ends_with(HIERARCHICAL)));
    limits
}

/// The limits on the process's address space and on its own data, as `proc` under `root` shows them.
fn resource_limits(root: &Path) -> Vec<Limited> {
    let text = fs::read_to_string(root.join("proc/self/limits")).unwrap_or_default();
    let limit = |(name, by): (&str, &str)| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        // The soft limit; it may be `unlimited`.
        let bytes = line.split_whitespace().next()?.parse().ok()?;
        Some(Limited { limit: MemoryLimit { bytes, by: by.to_owned() }, used: 0 })
    };
    let all = [
        ("Max address space ", "RLIMIT_AS (ulimit -v)"),
        ("Max data size ", "RLIMIT_DATA (ulimit -d)"),
    ];
    all.into_iter().filter_map(limit).collect()
}

/// Where a group of version 1 tells the smallest limit of those above it.
const HIERARCHICAL: &str = "memory.stat";

/// The limits of the process's control groups, as `proc` and `sys` under `root` show them.
fn group_limits(root: &Path) -> Vec<Limited> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let groups = read("proc/self/cgroup");
    let mounts = read("proc/self/mountinfo");
    let mut limits = Vec::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        for group in groups.lines().filter_map(|line| mount.version.path_in(line)) {
            let own = mount.directory(root, group);
            let top = mount.at(root);
            let up = own.ancestors().take_while(|directory| directory.starts_with(&top));
            for (above, directory) in up.enumerate() {
                limits.extend(mount.version.limits(root, directory, above > 0));
            }
        }
    }
    limits
}

/// A version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The path in a line of `/proc/self/cgroup` (`number:controllers:path`), if it is of this
    /// version and limits memory.
    fn path_in(self, line: &str) -> Option<&str> {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match self {
            Version::One => controllers.split(',').any(|name| name == "memory"),
            Version::Two => number == "0" && controllers.is_empty(),
        };
        is_it.then_some(path)
    }

    /// The limits of the group in `directory`, which may stand above the process's own.
    fn limits(self, root: &Path, directory: &Path, above: bool) -> Vec<Limited> {
        let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
        let stat = text("memory.stat").unwrap_or_default();
        let of_stat = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let (files, usage, cache, shared) = match self {
            // Above a limit called high nothing is killed, but all is slowed down to a crawl.
            Version::Two => (["memory.max", "memory.high"], "memory.current", "file", "shmem"),
            Version::One => {
                // Without hierarchy a group above only limits its own processes.
                if above && number("memory.use_hierarchy") == Some(0) {
                    return Vec::new();
                }
                let files = ["memory.limit_in_bytes", HIERARCHICAL];
                (files, "memory.usage_in_bytes", "total_cache", "total_shmem")
            }
        };
        // Of cached files those that are memory themselves (tmpfs) cannot be dropped.
        let cached = of_stat(cache).unwrap_or(0).saturating_sub(of_stat(shared).unwrap_or(0));
        let used = number(usage).unwrap_or(0).saturating_sub(cached);
        let limit = |name: &str| {
            // What groups above allow, also where they cannot be seen from in here.
            let bytes = match name {
                HIERARCHICAL => of_stat("hierarchical_memory_limit"),
                name => number(name),
            };
            let path = directory.join(name);
            let path = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
            Some(MemoryLimit { bytes: bytes?, by: path.display().to_string() })
        };
        files.iter().filter_map(|name| limit(name)).map(|limit| Limited { limit, used }).collect()
    }
}

/// Where groups are mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: Version,
    /// The group whose directory is mounted.
    group: PathBuf,
    /// Where.
    point: PathBuf,
}

impl Mount {
    /// A line of `/proc/self/mountinfo`, if groups that limit memory are mounted there: numbers,
    /// the mounted directory, the place, options, ` - `, type, source, options of the file system.
    fn parse(line: &str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let version = match (kind.next()?, kind.nth(1)?) {
            ("cgroup2", _) => Version::Two,
            ("cgroup", options) if options.split(',').any(|o| o == "memory") => Version::One,
            _ => return None,
        };
        let mut place = place.split(' ').skip(3);
        let (group, point) = (unescaped(place.next()?), unescaped(place.next()?));
        Some(Self { version, group, point })
    }

    /// Where it is mounted, under `root`.
    fn at(&self, root: &Path) -> PathBuf {
        root.join(self.point.strip_prefix("/").unwrap_or(&self.point))
    }

    /// The directory of `group`, or, where it cannot be seen, the nearest above it that can: in a
    /// container without a namespace of its own, the mounted directory is the container's group and
    /// the path is the machine's.
    fn directory(&self, root: &Path, group: &str) -> PathBuf {
        let inside = Path::new(group).strip_prefix(&self.group).unwrap_or(Path::new(""));
        // In a namespace of its own a process may stand beside its root.
        let is_plain = |p: std::path::Component<'_>| matches!(p, std::path::Component::Normal(_));
        let inside = if inside.components().all(is_plain) { inside } else { Path::new("") };
        let top = self.at(root);
        let own = top.join(inside);
        own.ancestors().find(|d| d.is_dir()).filter(|d| d.starts_with(&top)).unwrap_or(&top).into()
    }
}

/// A path as `/proc/self/mountinfo` writes it: blanks and backslashes as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 8) {
            Ok(byte) if byte.is_ascii() => path.push(char::from(byte)),
            _ => path.push_str(digits),
        }
        path.push_str(rest);
    }
    path.into()
}

#[cfg(test)]
mod tests;
