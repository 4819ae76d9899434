//! What a runtime mounts on has to be there. Made in a layer of its own above the image's, as docker does it,
//! it is no change that the container made: a commit or a build step does not find it in the upper directory.

use crate::rootfs::{self, Entry};
use crate::{Error, Result, names};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::fs::{fchmod, fchown, fstat, futimens, mkdirat, open, openat, symlinkat, utimensat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use wire::Bundle;

const DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];
/// Below etc, mounted over by the container's own.
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
/// What programs look for to learn that they are in one of docker's containers, and a list of mounts for old ones.
const OF_A_CONTAINER: [(&str, What); 2] = [("/.dockerenv", What::File), ("/etc/mtab", What::Link("/proc/mounts"))];
const NAME: &str = "init";
/// A time that is nobody's accident.
const EPOCH: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: 0 },
    last_modification: Timespec { tv_sec: 0, tv_nsec: 0 },
};

/// One more thing to make where the image has nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// What is made there.
    pub what: What,
}

/// What a stub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An empty directory.
    Directory,
    /// An empty file.
    File,
    /// A symbolic link with this target.
    Link(&'static str),
}

/// Adds the layer to an overlay bundle that has none and needs one, and writes its record anew. From outside of the
/// user namespace that the files belong to nothing is done: who unpacked has done it inside.
pub fn add(record: &mut Bundle) -> Result<()> {
    let outside = record.rest.contains_key("uidMappings") && !rustix::process::geteuid().is_root();
    if outside { Ok(()) } else { add_with(record, &of_a_container(record)) }
}

/// The same with more places, so that mounting there leaves nothing in the upper directory. Links on the way are
/// followed within the image.
pub fn add_with(record: &mut Bundle, stubs: &[Stub]) -> Result<()> {
    if record.overlay.is_none() || has_it(record) {
        return Ok(());
    }
    let dir = record.path.as_path().to_owned();
    // A record that was written down before the first start: the layer may be mounted right now.
    if has_it(&crate::load(&dir)?) {
        insert(record);
    } else if !make(record, stubs)? {
        return Ok(());
    }
    crate::save_record(&dir, record)
}

/// Adds the layer to a bundle that is being made and whose record is not written yet: to a container of the store, which
/// saves its start the work, and where the one who starts it could not do it.
pub fn begin(record: &mut Bundle) -> Result<()> {
    let stubs = of_a_container(record);
    let now = !stubs.is_empty() || record.rest.contains_key("uidMappings");
    if record.overlay.is_some() && now { make(record, &stubs).map(drop) } else { Ok(()) }
}

fn of_a_container(record: &Bundle) -> Vec<Stub> {
    // One of the store is named by its ID.
    let name = record.path.as_path().file_name().and_then(|name| name.to_str());
    let stubs = OF_A_CONTAINER.iter().filter(|_| name.is_some_and(names::is_id));
    stubs.map(|(path, what)| Stub { path: path.into(), what: *what }).collect()
}

fn layer(record: &Bundle) -> PathBuf {
    record.path.as_path().join(NAME)
}

fn has_it(record: &Bundle) -> bool {
    let init = layer(record);
    record.overlay.as_ref().is_some_and(|overlay| overlay.lower.iter().any(|lower| lower.as_path() == init))
}

fn insert(record: &mut Bundle) {
    let init = layer(record);
    if let Some(overlay) = &mut record.overlay {
        overlay.lower.insert(0, init.into());
    }
}

/// Makes it where there is something to make; says whether there was.
fn make(record: &mut Bundle, stubs: &[Stub]) -> Result<bool> {
    let init = layer(record);
    let io = |cause: Errno| Error::Io(init.clone(), cause.into());
    // Of one who was killed here.
    crate::remove_tree(&init).map_err(io)?;
    let made = fill(&init, &rootfs::roots(record)?, stubs).map_err(io)?;
    if made {
        insert(record);
    }
    Ok(made)
}

/// Makes what the merged directories have not; says whether that was anything.
fn fill(init: &Path, root: &[OwnedFd], stubs: &[Stub]) -> rustix::io::Result<bool> {
    let missing = |dir: &[OwnedFd], names: &[&'static str]| {
        let mut missing = Vec::new();
        for name in names {
            missing.extend(rootfs::look_up(dir, name.as_bytes())?.is_none().then_some(*name));
        }
        Ok::<_, Errno>(missing)
    };
    let directories = missing(root, &DIRECTORIES)?;
    let etc = rootfs::look_up(root, b"etc")?;
    let files = match &etc {
        None => FILES.to_vec(),
        Some(Entry::Directory(etc)) => missing(etc, &FILES)?,
        // Where etc is a link, or no directory at all, the image means it.
        Some(_) => Vec::new(),
    };
    let mut places = Vec::new();
    for stub in stubs {
        places.extend(rootfs::missing(root, &stub.path)?.map(|place| (place, stub.what)));
    }
    if directories.is_empty() && files.is_empty() && places.is_empty() {
        return Ok(false);
    }
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdir(init, mode)?;
    let top = open(init, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for name in directories {
        finish(&directory(top.as_fd(), name)?, mode)?;
    }
    if !files.is_empty() {
        let dir = directory(top.as_fd(), "etc")?;
        for name in files {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o644);
            finish(&openat(&dir, name, flags, mode)?, mode)?;
        }
        match &etc {
            Some(Entry::Directory(below)) => look_like(&dir, &below[0])?,
            _ => finish(&dir, mode)?,
        }
    }
    for (place, what) in &places {
        put(top.as_fd(), &place.there, &place.missing, *what)?;
    }
    // The upper directory, which comes first, looks like the topmost layer already.
    match root.get(1) {
        Some(below) => look_like(&top, below)?,
        None => finish(&top, mode)?,
    }
    Ok(true)
}

/// Makes `missing` below directories that are `there`; these look as the image has them.
fn put(
    at: BorrowedFd<'_>,
    there: &[(Vec<u8>, rootfs::Merged)],
    missing: &[Vec<u8>],
    what: What,
) -> rustix::io::Result<()> {
    if let Some(((name, below), deeper)) = there.split_first() {
        let dir = directory(at, name.as_slice())?;
        put(dir.as_fd(), deeper, missing, what)?;
        return look_like(&dir, &below[0]);
    }
    let [name, deeper @ ..] = missing else { return Ok(()) };
    match what {
        What::File if deeper.is_empty() => {
            let mode = Mode::from_raw_mode(0o644);
            finish(&openat(at, name.as_slice(), OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, mode)?, mode)
        }
        What::Link(target) if deeper.is_empty() => {
            symlinkat(target, at, name.as_slice())?;
            utimensat(at, name.as_slice(), &EPOCH, AtFlags::SYMLINK_NOFOLLOW)
        }
        _ => {
            let dir = directory(at, name.as_slice())?;
            put(dir.as_fd(), &[], deeper, what)?;
            finish(&dir, Mode::from_raw_mode(0o755))
        }
    }
}

fn directory(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> rustix::io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The mode whatever the umask is, and [`EPOCH`].
fn finish(file: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    fchmod(file, mode)?;
    futimens(file, &EPOCH)
}

/// The topmost directory of a name is what the merged one looks like.
fn look_like(new: &OwnedFd, old: &OwnedFd) -> rustix::io::Result<()> {
    let stat = fstat(old)?;
    match fchown(new, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))) {
        // An ordinary user unpacked everything as his own.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    fchmod(new, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    futimens(new, &Timestamps { last_access: time, last_modification: time })
}
