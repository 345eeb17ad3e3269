//! Trees as the kernel shows them to processes in groups of either version.

use super::*;

/// A tree with these files, each with its path under the root.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }
    root
}

/// Limit, what sets it, and what is used of it.
fn found(files: &[(&str, &str)]) -> Vec<(u64, String, u64)> {
    let root = tree(files);
    let limits = group_limits(root.path());
    limits.into_iter().map(|l| (l.limit.bytes, l.limit.by, l.used)).collect()
}

const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory";

#[test]
fn every_group_on_the_way_up_counts() {
    let limits = found(&[
        ("proc/self/cgroup", "0::/system.slice/run.scope/inner"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/memory.stat", "file 7"),
        ("sys/fs/cgroup/system.slice/memory.max", "4000"),
        ("sys/fs/cgroup/system.slice/memory.high", "3000"),
        ("sys/fs/cgroup/system.slice/memory.current", "1500"),
        ("sys/fs/cgroup/system.slice/memory.stat", "anon 900\nfile 600\nshmem 100"),
        ("sys/fs/cgroup/system.slice/run.scope/memory.max", "max"),
        ("sys/fs/cgroup/system.slice/run.scope/inner/memory.max", "3500"),
        ("sys/fs/cgroup/system.slice/run.scope/inner/memory.current", "100"),
        ("sys/fs/cgroup/system.slice/other/memory.max", "1"),
    ]);
    let slice = "/sys/fs/cgroup/system.slice";
    assert_eq!(
        limits,
        [
            (3500, format!("{slice}/run.scope/inner/memory.max"), 100),
            (4000, format!("{slice}/memory.max"), 1000),
            (3000, format!("{slice}/memory.high"), 1000),
        ]
    );
}

#[test]
fn groups_of_version_1_are_found_by_their_controller() {
    let job = "sys/fs/cgroup/memory/slurm/job 1";
    let limits = found(&[
        ("proc/self/cgroup", "8:pids:/a\n4:cpu,memory:/slurm/job 1/step\n0::/elsewhere"),
        (
            "proc/self/mountinfo",
            &format!("{}\n34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", V1),
        ),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
        ("sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "10"),
        ("sys/fs/cgroup/memory/slurm/memory.use_hierarchy", "0"),
        (&format!("{job}/memory.limit_in_bytes"), "150000"),
        (&format!("{job}/memory.use_hierarchy"), "1"),
        (&format!("{job}/memory.usage_in_bytes"), "90000"),
        (&format!("{job}/memory.stat"), "cache 5\ntotal_cache 50000\ntotal_shmem 1000"),
        (&format!("{job}/step/memory.limit_in_bytes"), "9223372036854771712"),
        (&format!("{job}/step/memory.stat"), "hierarchical_memory_limit 140000"),
    ]);
    let smallest = limits.iter().min().unwrap();
    assert_eq!(*smallest, (140_000, format!("/{job}/step/memory.stat"), 0));
    assert!(limits.contains(&(150_000, format!("/{job}/memory.limit_in_bytes"), 41_000)));
    assert!(limits.iter().all(|l| l.0 != 10), "it limits only its own processes: {limits:?}");
}

#[test]
fn a_container_without_a_namespace_of_its_own_sees_its_group_as_the_root() {
    for (group, mounted) in [
        ("/docker/0123", "/docker/0123"),
        // Only the container's groups are mounted, and the path is not among them.
        ("/docker/0123", "/"),
        ("/../0123", "/"),
        ("/", "/"),
    ] {
        let mount = format!("35 31 0:32 {mounted} /sys/fs/my\\040groups ro - cgroup2 none rw");
        let limits = found(&[
            ("proc/self/cgroup", &format!("0::{group}")),
            ("proc/self/mountinfo", &mount),
            ("sys/fs/my groups/memory.max", "150"),
        ]);
        assert_eq!(limits, [(150, "/sys/fs/my groups/memory.max".to_owned(), 0)], "{group}");
    }
}

#[test]
fn where_nothing_is_limited_or_nothing_is_shown_there_is_no_limit() {
    assert!(found(&[]).is_empty());
    assert!(
        found(&[("proc/self/cgroup", "garbage\n0::"), ("proc/self/mountinfo", "- -")]).is_empty()
    );
    let limits = found(&[
        ("proc/self/cgroup", "0::/a"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/a/memory.max", "max"),
        ("sys/fs/cgroup/a/memory.high", "max"),
    ]);
    assert!(limits.is_empty(), "{limits:?}");
}

#[test]
fn resource_limits_count_where_there_are_any() {
    let root = tree(&[(
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max data size             unlimited            unlimited            bytes\n\
         Max address space         2048000000           4096000000           bytes",
    )]);
    let limits = resource_limits(root.path());
    assert_eq!(limits.len(), 1);
    assert_eq!(limits[0].limit.bytes, 2_048_000_000);
    assert!(limits[0].limit.by.contains("ulimit -v"));
}
