//! The system calls that neither rustix nor std wraps. All `unsafe` of the project is in this file.
#![allow(unsafe_code, reason = "this file is the place for it")]

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, Result};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use std::ffi::{CStr, CString};

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 { Err(last()) } else { Ok(result) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// `clone3(2)` as a fork: `None` in the child, its PID and pidfd in the parent.
///
/// The child gets a copy of the address space. It may allocate, because this process has one thread: nobody
/// can have held the allocator's lock.
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers; zero is "absent" for each of them.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD.cast_unsigned().into();
    if let Some(cgroup) = cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP does not fit the type that libc gives it
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM the child runs on a copy of this stack; pidfd and args outlive the call.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), std::mem::size_of::<libc::clone_args>())
    })?;
    match Pid::from_raw(i32::try_from(pid).unwrap_or(0)) {
        None => Ok(None),
        // SAFETY: the kernel has just made this descriptor for us (close-on-exec).
        Some(pid) => Ok(Some((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `mount_setattr(2)` on the mount at `fd`.
pub(crate) fn mount_setattr(fd: impl AsFd, recursive: bool, set: u64, propagation: u64) -> Result<()> {
    mount_change(fd, recursive, set, 0, propagation)
}

/// [`mount_setattr`] with attributes that are taken away.
pub(crate) fn mount_change(fd: impl AsFd, recursive: bool, set: u64, clear: u64, propagation: u64) -> Result<()> {
    // The kinds of atime are one field: setting one means clearing the field first.
    let clear = clear | if set & 0x70 != 0 || set & 1 << 30 != 0 { 0x70 } else { 0 };
    let attr = MountAttr { set: set & !(1 << 30), clear, propagation, userns_fd: 0 };
    set_mount(fd, recursive, &attr)
}

/// Shows the mount's files with the owners that the user namespace maps them to.
pub(crate) fn mount_idmap(fd: impl AsFd, recursive: bool, namespace: impl AsFd) -> Result<()> {
    const IDMAP: u64 = 0x0010_0000;
    let userns_fd = namespace.as_fd().as_raw_fd().cast_unsigned().into();
    set_mount(fd, recursive, &MountAttr { set: IDMAP, clear: 0, propagation: 0, userns_fd })
}

fn set_mount(fd: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated literal, attr outlives the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            std::mem::size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Marks every descriptor from `first` on close-on-exec. A single descriptor of ours that stays open inside is a way
/// out (CVE-2016-9962, CVE-2024-21626).
pub(crate) fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: takes integers only; with CLOSE_RANGE_CLOEXEC nothing that Rust owns is closed here.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 4) }).map(drop)
}

/// Closes every descriptor from 3 on. Only for the first lines of a program: nothing that Rust owns may be there.
pub(crate) fn close_from_3() -> Result<()> {
    // SAFETY: takes integers only; the caller has opened nothing yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }).map(drop)
}

/// `madvise(2)`: pages of this program's own code go; the next use of one maps it again, from its file.
pub(crate) fn let_go_of_code() -> Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|_| Errno::IO)?;
    // Never written to: what may not be lost is in mappings of other kinds.
    for line in maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(" /")) {
        let range = line.split([' ', '-']).take(2).map(|end| usize::from_str_radix(end, 16));
        let [Ok(start), Ok(end)] = range.collect::<Vec<_>>()[..] else { return Err(Errno::IO) };
        // SAFETY: the mapping is private, of a file and not writable; its content stays what it is.
        check(unsafe {
            libc::madvise(std::ptr::without_provenance_mut(start), end - start, libc::MADV_DONTNEED).into()
        })?;
    }
    Ok(())
}

/// `waitid(P_PIDFD)` with what the process used, which neither std nor rustix ask for.
pub(crate) fn reap(pidfd: impl AsFd) -> Result<(libc::siginfo_t, libc::rusage)> {
    // SAFETY: both are plain data that the kernel fills in and that outlive the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let mut usage: libc::rusage = std::mem::zeroed();
        let fd = pidfd.as_fd().as_raw_fd();
        check(libc::syscall(libc::SYS_waitid, libc::P_PIDFD, fd, &raw mut info, libc::WEXITED, &raw mut usage))?;
        Ok((info, usage))
    }
}

/// `si_code` and `si_status` of a child's end.
pub(crate) fn end_of(info: &libc::siginfo_t) -> (i32, i32) {
    // SAFETY: the kernel has filled in the members for SIGCHLD, which waitid(2) always does.
    (info.si_code, unsafe { info.si_status() })
}

/// Every signal's action back to default and the mask empty: exec keeps "ignored" and the mask.
pub(crate) fn default_signals() {
    // Not signal(3): glibc keeps 32 and 33 to itself and would leave them ignored if our caller ignores them.
    let default = [0_u64; 4]; // SIG_DFL, no flags, no restorer, empty mask, as the kernel lays them out
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no handler; the kernel reads 32 bytes, which are there. KILL and STOP answer
        // EINVAL, which is right.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8_usize);
        }
    }
    // SAFETY: an all-zero sigset_t is made a valid empty set by sigemptyset before use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Blocks every signal and gives a descriptor from which they are read instead.
pub(crate) fn signal_fd() -> Result<OwnedFd> {
    // SAFETY: sigfillset makes the zeroed set valid; signalfd's result is checked before it is owned.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd.into())?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal that waits in a [`signal_fd`].
pub(crate) fn next_signal(fd: impl AsFd) -> Option<i32> {
    let mut buffer = [0_u8; std::mem::size_of::<libc::signalfd_siginfo>()];
    let length = rustix::io::read(fd, &mut buffer).ok()?;
    // ssi_signo is the first member.
    (length == buffer.len()).then(|| i32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]))
}

/// `pidfd_send_signal(2)` for any number, real-time signals too.
pub(crate) fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill(2)".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, no_info, 0) })
        .map(drop)
}

/// `execve(2)`. Returns only when it failed.
pub(crate) fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end in a null pointer and every string in them outlives the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    last()
}

/// Ends the child without running what the parent registered for its own end.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: never returns; nothing of the parent's is flushed twice.
    unsafe { libc::_exit(code.into()) }
}

/// The program starts with default actions and an empty mask, whatever this process blocks.
pub(crate) fn start_with_default_signals(program: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let reset = || {
        default_signals();
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { program.pre_exec(reset) };
}

/// New namespaces for this process. Safe here: no `CLONE_FILES`, so descriptors keep their meaning.
pub(crate) fn unshare_cgroup() -> Result<()> {
    // SAFETY: the flag concerns the cgroup namespace only.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }
}

/// A root and a working directory of this thread's own, so that it may go to another mount namespace alone.
pub(crate) fn unshare_directories() -> Result<()> {
    // SAFETY: the flag concerns the root and the working directory only, and descriptors keep their meaning.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// A mount namespace of this process's own, and first a user namespace when the right to it is wanting. Safe here:
/// no `CLONE_FILES`.
pub(crate) fn unshare_mounts(user: bool) -> Result<()> {
    let user = if user { UnshareFlags::NEWUSER } else { UnshareFlags::empty() };
    // SAFETY: the flags concern the mount and the user namespace only.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | user) }
}

/// `ip link set lo up`, by the ioctl that is older than netlink and one call.
pub(crate) fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain data; the name is NUL-terminated because the rest stays zero.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0x41);
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into()).map(drop)
    }
}

/// `setrlimit(2)` by the resource's number.
pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: limit outlives the call; an unknown resource is EINVAL.
    check(unsafe { libc::setrlimit64(resource, &raw const limit) }.into()).map(drop)
}

/// `getrlimit(2)` by the resource's number: soft and hard.
pub(crate) fn getrlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is written by the call and outlives it.
    check(unsafe { libc::getrlimit64(resource, &raw mut limit) }.into())?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// `PR_CAPBSET_DROP`; EINVAL says that the kernel does not know the number.
pub(crate) fn drop_from_bounding_set(capability: u32) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }.into()).map(drop)
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`; the listener's descriptor when the flags ask for one.
pub(crate) fn seccomp_filter(flags: u32, program: &[libc::sock_filter]) -> Result<i32> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which outlives the call, and writes nothing through the pointer.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            std::ptr::from_ref(&program),
        )
    })?;
    Ok(i32::try_from(fd).unwrap_or(-1))
}

/// What `sched_setattr(2)` takes.
#[derive(Debug)]
pub(crate) struct Scheduling {
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

/// `sched_setattr(2)` for this process.
pub(crate) fn sched_setattr(wanted: &Scheduling) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: 48,
        policy: wanted.policy,
        flags: wanted.flags,
        nice: wanted.nice,
        priority: wanted.priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    };
    // SAFETY: the structure is the first version of the kernel's, tells its size and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attributes), 0) }).map(drop)
}

/// `ioprio_set(2)` for this process.
pub(crate) fn ioprio_set(priority: u32) -> Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) }).map(drop)
}

/// `set_mempolicy(2)`; the mask has a bit for each node.
pub(crate) fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one off the number of bits.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: the kernel reads that many bits of the mask, which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) }).map(drop)
}

/// `personality(2)`
pub(crate) fn personality(domain: u32) -> Result<()> {
    // SAFETY: takes an integer only.
    check(unsafe { libc::personality(domain.into()) }.into()).map(drop)
}

/// `union bpf_attr`, as much of it as is used; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct BpfLoad {
    program_type: u32,
    count: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `bpf(BPF_PROG_LOAD)` of a program that decides on devices.
pub(crate) fn bpf_device_program(program: &[u64]) -> Result<OwnedFd> {
    const LOAD: libc::c_int = 5;
    const CGROUP_DEVICE: u32 = 15;
    let attributes = BpfLoad {
        program_type: CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        program: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..BpfLoad::default()
    };
    // SAFETY: the kernel reads the program and the license, which outlive the call, in the sizes that are given.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_bpf, LOAD, std::ptr::from_ref(&attributes), std::mem::size_of::<BpfLoad>())
    })?;
    // SAFETY: the kernel has just made this descriptor for us (close-on-exec).
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// `bpf(BPF_PROG_ATTACH)` of such a program to a cgroup of version 2, beside those that are there already.
pub(crate) fn bpf_attach_device(group: impl AsFd, program: impl AsFd) -> Result<()> {
    const ATTACH: libc::c_int = 8;
    const DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let target = group.as_fd().as_raw_fd().cast_unsigned();
    let attributes: [u32; 4] = [target, program.as_fd().as_raw_fd().cast_unsigned(), DEVICE, ALLOW_MULTI];
    // SAFETY: the kernel reads the sixteen bytes that are given.
    check(unsafe { libc::syscall(libc::SYS_bpf, ATTACH, attributes.as_ptr(), std::mem::size_of_val(&attributes)) })
        .map(drop)
}

/// A new time namespace for the children of this process.
pub(crate) fn unshare_time() -> Result<()> {
    // SAFETY: the flag concerns the time namespace only.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWTIME) }
}

/// `clone3(2)` in namespaces that exist, the user namespace first: a helper enters them and makes the process as a
/// child of its own parent. As [`clone3`] to whoever calls.
pub(crate) fn clone3_inside(namespaces: &[OwnedFd], flags: u64) -> Result<Option<(Pid, OwnedFd)>> {
    use rustix::process::{DumpableBehavior, PidfdFlags, WaitId, WaitIdOptions};
    use rustix::process::{pidfd_open, set_dumpable_behavior, waitid};
    use rustix::thread::move_into_link_name_space;
    let (answer, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let Some((_, helper)) = clone3(0, None)? else {
        drop(answer);
        let mut entered = namespaces.iter().map(|namespace| move_into_link_name_space(namespace.as_fd(), None));
        let entered = entered.try_for_each(|done| done);
        // Who is in the PID namespace already sees the process from its birth (CVE-2016-9962).
        let hidden = entered.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
        let made = hidden.and_then(|()| clone_beside(flags));
        let word = match made {
            Ok(None) => return Ok(None),
            Ok(Some(pid)) => pid,
            Err(errno) => -errno.raw_os_error(),
        };
        let _ = rustix::io::write(&tell, &word.to_ne_bytes());
        exit_now(0);
    };
    drop(tell);
    let mut word = [0; 4];
    let length = rustix::io::read(&answer, &mut word)?;
    let _ = waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED);
    match (length, i32::from_ne_bytes(word)) {
        (4, pid) if pid > 0 => {
            // Our own child, which nobody else can reap: the number is still its.
            let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
            Ok(Some((pid, pidfd_open(pid, PidfdFlags::empty())?)))
        }
        (4, errno) if errno < 0 => Err(Errno::from_raw_os_error(-errno)),
        _ => Err(Errno::SRCH),
    }
}

/// A process with the same parent as this one, which hears of its end as of ours; `None` in the new one. By clone(2):
/// filters of system calls often answer that there is no clone3(2).
pub(crate) fn clone_beside(flags: u64) -> Result<Option<i32>> {
    let flags = flags | u64::from(libc::CLONE_PARENT.cast_unsigned());
    // SAFETY: without CLONE_VM the child runs on a copy of this stack, and no pointer is given.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0_u64, 0_u64, 0_u64, 0_u64) })?;
    Ok(i32::try_from(pid).ok().filter(|pid| *pid > 0))
}

/// Closes every descriptor from `first` on but one. Only on the way to an exec or to [`exit_now`]: what Rust thinks it
/// owns is gone.
pub(crate) fn close_all_but(first: u32, kept: impl AsFd) -> Result<()> {
    let kept = kept.as_fd().as_raw_fd().cast_unsigned();
    for (first, last) in [(first, kept.saturating_sub(1)), (first.max(kept + 1), u32::MAX)] {
        if first <= last {
            // SAFETY: takes integers only; the caller uses none of these any more.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
    }
    Ok(())
}

/// Overwrites the environment that this program was started with, which no exec has replaced yet.
pub(crate) fn forget_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: a list of strings that ends with a null pointer, in memory of ours that may be written to; there is no other
    // thread that could read it.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            libc::memset((*next).cast(), 0, libc::strlen(*next));
            next = next.add(1);
        }
    }
}
