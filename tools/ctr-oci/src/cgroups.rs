//! The cgroups of a container as files: who is in them, and whether they are frozen. Version 1 has a tree for each
//! controller, version 2 one tree for all.

use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The IDs of all processes, those of cgroups below included.
pub fn processes(groups: &[PathBuf]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for group in groups {
        collect(group, &mut found);
    }
    found
}

fn collect(group: &Path, found: &mut BTreeSet<i32>) {
    let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

/// The file that freezes, and what it holds then: version 1's where there is one.
fn freezer(groups: &[PathBuf]) -> Option<(PathBuf, [&'static str; 2])> {
    let with = |file: &str| groups.iter().map(|group| group.join(file)).find(|path| path.exists());
    let v1 = with("freezer.state").map(|path| (path, ["THAWED", "FROZEN"]));
    v1.or_else(|| Some((with("cgroup.freeze")?, ["0", "1"])))
}

/// Whether its processes are stopped.
pub fn are_frozen(groups: &[PathBuf]) -> bool {
    let Some((file, [thawed, _])) = freezer(groups) else { return false };
    fs::read_to_string(file).is_ok_and(|text| text.trim() != thawed)
}

/// Stops all processes, or lets them go on. The kernel takes its time; version 1 wants to be asked again.
pub fn freeze(groups: &[PathBuf], frozen: bool) -> anyhow::Result<()> {
    let Some((file, words)) = freezer(groups) else { bail!("this host has no cgroup that freezes") };
    let name = || file.display().to_string();
    let word = words[usize::from(frozen)];
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        fs::write(&file, word).with_context(name)?;
        let text = fs::read_to_string(&file).with_context(name)?;
        let events = fs::read_to_string(file.with_file_name("cgroup.events")).unwrap_or_default();
        let settled = !file.ends_with("cgroup.freeze") || events.contains(&format!("frozen {word}"));
        if text.trim() == word && settled {
            return Ok(());
        }
        if Instant::now() > until {
            if frozen {
                fs::write(&file, words[0]).with_context(name)?;
            }
            bail!("{}: {word}: not reached in time", file.display());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The content of the first of a cgroup's files that is there.
pub fn read(groups: &[PathBuf], files: &[&str]) -> Option<String> {
    let at = |file: &&str| groups.iter().find_map(|group| fs::read_to_string(group.join(file)).ok());
    files.iter().find_map(at).map(|text| text.trim().to_owned())
}
