//! The freezer: all processes of a container stand still, and none can notice, refuse or escape. Version 1 has a
//! controller for it, version 2 has it in every cgroup.

use super::{Group, Hierarchies, write};
use crate::error::{Call, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to stop everybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Freezes the container `id` whose first process is `first`. A container that has no cgroup in which this can be done
/// gets one. `note` is told the cgroup before anybody stands still: only who knows it can ever let them go on.
pub fn freeze<E: From<Error>>(
    first: i32,
    id: &str,
    note: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let trees = Hierarchies::of_this_host()?;
    let version_1 = trees.0.iter().find(|tree| tree.controllers.iter().any(|name| name == "freezer"));
    let tree = version_1.or_else(|| trees.0.iter().find(|tree| tree.unified));
    let Some(tree) = tree else { return Err(Error::refused("cgroup: this host has no freezer").into()) };
    let at = tree.mount.join(place_of(first, tree.unified)?);
    if at.file_name().and_then(|name| name.to_str()).is_some_and(|name| is_its_own(name, id)) {
        note(&at)?;
        return Ok(stop(&at, tree.unified)?);
    }
    let root = rustix::process::geteuid().is_root();
    let group = Group {
        path: tree.top(!root).join("dock").join(id),
        controllers: vec!["freezer".into()],
        enable: Vec::new(),
        writes: Vec::new(),
        devices: Vec::new(),
        above: std::cell::RefCell::default(),
        made: std::cell::Cell::new(true),
    };
    let made = group.make()?;
    if let Err(error) = note(&group.path) {
        drop(made);
        group.remove();
        return Err(error);
    }
    let stopped = stop_all(first, &group.path, tree.unified);
    if stopped.is_err() {
        let _ = thaw(&group.path);
    }
    Ok(stopped?)
}

/// Whether a cgroup of this name is the container's alone: it is called like it, and in systemd's way.
fn is_its_own(name: &str, id: &str) -> bool {
    name == id
        || name.strip_suffix(".scope").and_then(|name| name.strip_suffix(id)).is_some_and(|left| left.ends_with('-'))
}

/// Moves every process of the container into the frozen cgroup.
fn stop_all(first: i32, cgroup: &Path, unified: bool) -> Result<()> {
    order(cgroup, unified, true)?;
    // Who joins a frozen cgroup is frozen: from round to round fewer can have children.
    let until = Instant::now() + PATIENCE;
    while move_all(first, cgroup)? {
        if Instant::now() > until {
            let message = format!("{}: new processes come for {} s", cgroup.display(), PATIENCE.as_secs());
            return Err(Error::refused(message));
        }
    }
    stop(cgroup, unified)
}

/// Lets them go on.
pub fn thaw(cgroup: &Path) -> std::result::Result<(), Error> {
    order(cgroup, !cgroup.join("freezer.state").exists(), false)
}

fn order(cgroup: &Path, unified: bool, freeze: bool) -> Result<()> {
    match (unified, freeze) {
        (true, true) => write(&cgroup.join("cgroup.freeze"), "1"),
        (true, false) => write(&cgroup.join("cgroup.freeze"), "0"),
        (false, true) => write(&cgroup.join("freezer.state"), "FROZEN"),
        (false, false) => write(&cgroup.join("freezer.state"), "THAWED"),
    }
}

/// Gives the order and waits until it is obeyed.
fn stop(cgroup: &Path, unified: bool) -> Result<()> {
    order(cgroup, unified, true)?;
    let (file, done) = if unified { ("cgroup.events", "frozen 1") } else { ("freezer.state", "FROZEN") };
    let until = Instant::now() + PATIENCE;
    loop {
        let path = cgroup.join(file);
        let text = fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
        if text.lines().any(|line| line == done) {
            return Ok(());
        }
        if Instant::now() > until {
            order(cgroup, unified, false)?;
            return Err(Error::refused(format!("{}: not frozen after {} s", path.display(), PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Where a process stands in the tree, below its root.
fn place_of(pid: i32, unified: bool) -> Result<PathBuf> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own =
        lines.find(|(names, _)| if unified { names.is_empty() } else { names.split(',').any(|n| n == "freezer") });
    Ok(own.map_or("", |(_, path)| path).trim_start_matches('/').into())
}

/// Moves every process of the container that is not in the cgroup yet. Whether there was one.
pub(super) fn move_all(first: i32, cgroup: &Path) -> Result<bool> {
    let procs = cgroup.join("cgroup.procs");
    let inside = fs::read_to_string(&procs).call(|| format!("read({procs:?})"))?;
    let inside: BTreeSet<i32> = inside.lines().filter_map(|line| line.parse().ok()).collect();
    let mut moved = false;
    for pid in processes_of(first) {
        // A zombie can be moved, again and again, without ever being listed; its frozen parent does not reap it.
        if inside.contains(&pid) || parent_of(pid).is_none() {
            continue;
        }
        match write(&procs, &pid.to_string()) {
            // It has just ended.
            Err(Error::Call { errno: libc::ESRCH, .. }) => {}
            done => {
                done?;
                moved = true;
            }
        }
    }
    Ok(moved)
}

/// The process and all that belong to it: those of its PID namespace, when that is not ours, and all their
/// descendants.
pub fn processes_of(first: i32) -> BTreeSet<i32> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(&first.to_string()).filter(|own| namespace("self").as_ref() != Some(own));
    let mut parents = BTreeMap::new();
    let mut found = BTreeSet::from([first]);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Ok(pid) = name.parse::<i32>() else { continue };
        if wanted.is_some() && namespace(&name) == wanted {
            found.insert(pid);
        }
        parents.extend(parent_of(pid).map(|parent| (pid, parent)));
    }
    // A child has mostly a higher number than its parent, so that few rounds do.
    loop {
        let before = found.len();
        for (pid, parent) in &parents {
            if found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Field 4 of /proc/PID/stat; none for a process that has ended, also when it was not reaped yet.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.next()?.parse().ok()
}
