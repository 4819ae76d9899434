//! pty(7): the container's terminal is of the container's own devpts; ctr-spawn holds the other end.

use crate::error::{Call, Error, Result};
use crate::mounts::{attach, clone_of};
use crate::steps::{Mechanism, Scene};
use crate::walk::{self, Links};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fstat, fstatfs, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use serde::Serialize;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::Path;

/// Opens a terminal, makes it the controlling one and puts it on 0, 1 and 2.
#[derive(Debug, Serialize)]
pub struct Console {
    /// Owner of the terminal: the user that the process will be.
    pub uid: u32,
    /// Lines and columns at the start, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<(u16, u16)>,
    /// Puts it on `/dev/console` too: the first process's terminal is the container's.
    pub console: bool,
}

/// `f_type` of devpts.
const DEVPTS: i64 = 0x1cd1;

impl Mechanism for Console {
    fn shell(&self) -> String {
        "exec script -q -c sh /dev/null".into()
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let root = scene.root()?;
        let ptmx = Path::new("/dev/pts/ptmx");
        let master = walk::need(root, ptmx, OFlags::RDWR | OFlags::NOCTTY, Links::Refused)?;
        // An image or a second mount could have put another file there (CVE-2025-52565).
        let magic = fstatfs(&master).call(|| "fstatfs(/dev/pts/ptmx)".into())?.f_type;
        if magic != DEVPTS {
            return Err(Error::refused("/dev/pts/ptmx: is not of a devpts"));
        }
        unlockpt(&master).call(|| "ioctl(<ptmx>, TIOCSPTLCK)".into())?;
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .call(|| "ioctl(<ptmx>, TIOCGPTPEER)".into())?;
        if let Some((rows, columns)) = self.size {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&master, size).call(|| "ioctl(<ptmx>, TIOCSWINSZ)".into())?;
        }
        if self.uid != 0 {
            fchown(&slave, Some(Uid::from_raw(self.uid)), None::<Gid>).call(|| "fchown(<terminal>)".into())?;
        }
        if self.console {
            put_on_console(root, &master, &slave)?;
        }
        if let Some(socket) = &scene.socket {
            send(socket, b"t", &master).call(|| "sendmsg(<ctr-spawn>, <ptmx>)".into())?;
        }
        scene.has_terminal = true;
        if !scene.born_last {
            rustix::process::ioctl_tiocsctty(&slave).call(|| "ioctl(<terminal>, TIOCSCTTY)".into())?;
        }
        rustix::stdio::dup2_stdin(&slave).call(|| "dup2(<terminal>, 0)".into())?;
        rustix::stdio::dup2_stdout(&slave).call(|| "dup2(<terminal>, 1)".into())?;
        rustix::stdio::dup2_stderr(&slave).call(|| "dup2(<terminal>, 2)".into())
    }
}

fn put_on_console(root: &OwnedFd, master: &OwnedFd, slave: &OwnedFd) -> Result<()> {
    let name = ptsname(master, Vec::new()).call(|| "ioctl(<ptmx>, TIOCGPTN)".into())?;
    let node = walk::need(root, Path::new(&*name.to_string_lossy()), OFlags::PATH, Links::Refused)?;
    let same = fstat(&node).call(|| "fstat(<terminal>)".into())?.st_rdev
        == fstat(slave).call(|| "fstat(<terminal>)".into())?.st_rdev;
    if !same {
        return Err(Error::refused(format!("{}: is not the terminal that was opened", name.to_string_lossy())));
    }
    let console = walk::make_file(root, Path::new("/dev/console"), Links::Refused)?;
    let copy = clone_of(&node).call(|| "open_tree(<terminal>)".into())?;
    attach(&copy, &console).call(|| "move_mount(<terminal>, <rootfs>/dev/console)".into())
}

/// A message with a descriptor.
pub(crate) fn send(socket: impl AsFd, message: &[u8], fd: &OwnedFd) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Hands a descriptor to whoever listens at `path`, as to the console socket of podman and containerd.
pub(crate) fn send_to(path: &Path, message: &str, fd: &OwnedFd) -> Result<()> {
    let socket = connect_to(path)?;
    send(&socket, message.as_bytes(), fd).call(|| format!("sendmsg({path:?}, {message:?})"))
}

/// A connection to a socket of the host's.
pub(crate) fn connect_to(path: &Path) -> Result<OwnedFd> {
    let line = || format!("connect({path:?})");
    let address = SocketAddrUnix::new(path).call(line)?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).call(|| "socket()".into())?;
    connect(&socket, &address).call(line)?;
    Ok(socket)
}

/// A word of at most five bytes and the descriptor that came with it; `None` when the other end is closed.
pub(crate) fn hear(socket: impl AsFd) -> Option<([u8; 5], Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0; 5];
    let heard = loop {
        let mut buffers = [IoSliceMut::new(&mut word)];
        match recvmsg(&socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.ok()?,
        }
    };
    if heard.bytes == 0 {
        return None;
    }
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Some((word, fd))
}

/// The terminal of the person. Raw while it lives, as it was when it goes.
#[derive(Debug)]
pub struct Terminal {
    input: OwnedFd,
    before: Option<Termios>,
}

impl Terminal {
    /// Stdin, when it is one. Still unchanged.
    pub fn of_stdin() -> Option<Self> {
        let input = isatty(rustix::stdio::stdin()).then(|| rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3));
        Some(Self { input: input?.ok()?, before: None })
    }

    /// Stdin, or in a pipe `/dev/tty`; none where there is nobody, as in a job of cron. Still unchanged.
    pub fn of_the_person() -> Option<Self> {
        let dev_tty = || open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok();
        Self::of_stdin().or_else(|| Some(Self { input: dev_tty()?, before: None }))
    }

    /// Lines and columns.
    pub fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.input).ok()?;
        Some((size.ws_row, size.ws_col))
    }

    /// Every key goes to the container as it is.
    pub fn raw(&mut self) {
        if let Ok(before) = tcgetattr(&self.input) {
            let mut raw = before.clone();
            raw.make_raw();
            if tcsetattr(&self.input, OptionalActions::Drain, &raw).is_ok() {
                self.before = Some(before);
            }
        }
    }

    /// Where the keys come from.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// After SIGWINCH.
    pub(crate) fn pass_size_to(&self, master: &OwnedFd) {
        if let Ok(size) = tcgetwinsize(&self.input) {
            let _ = tcsetwinsize(master, size);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.input, OptionalActions::Drain, before);
        }
    }
}

/// Reading and writing must not stop each other.
pub(crate) fn unblock(fd: &OwnedFd) {
    if let Ok(flags) = rustix::fs::fcntl_getfl(fd) {
        let _ = rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK);
    }
}
