//! Bundles made by hand: busybox as the root file system and a `config.json` as docker would write it.

use crate::{Ran, Room};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// docker's default list, and one entry of each kind that a test looks at.
pub fn config(args: &[&str]) -> Value {
    let mount = |at: &str, kind: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({"destination": at, "type": kind, "source": kind, "options": options})
    };
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/bin", "A=b c"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "inside",
        "mounts": [
            mount("/proc", "proc", "nosuid,noexec,nodev"),
            mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
            mount("/sys/fs/cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
            mount("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
            mount("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        ],
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// busybox and its applets below `dir`.
pub fn busybox(dir: &Path) {
    fs::create_dir_all(dir.join("bin")).expect("test set-up");
    fs::create_dir_all(dir.join("tmp")).expect("test set-up");
    let program =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).expect("test set-up");
    fs::copy(program, dir.join("bin/busybox")).expect("test set-up");
    for name in "sh true false ls cat hostname ps mount id sleep ip stat readlink echo wc grep touch mkdir dd env pwd head tr stty tty kill tail setsid".split(' ') {
        symlink("busybox", dir.join("bin").join(name)).expect("test set-up");
    }
}

/// A room with the bundle `box`.
pub fn room() -> Room {
    let room = Room::new();
    busybox(&room.path("box/rootfs"));
    room
}

/// Writes the configuration of that bundle.
pub fn configure(room: &Room, config: &Value) {
    room.write("box/config.json", config.to_string());
}

/// Runs a shell script in the container of a fresh bundle whose configuration was changed.
pub fn with(change: impl FnOnce(&mut Value), script: &str) -> Ran {
    let room = room();
    let mut config = config(&["sh", "-c", script]);
    change(&mut config);
    configure(&room, &config);
    room.sh("ctr-spawn box")
}

/// A static program of a few instructions for x86-64 that makes one system call and exits with its error number,
/// or 0: `syscall` by the machine's own convention, else `int 0x80` as 32-bit programs do.
pub fn one_call(own_convention: bool, number: u32, args: [u64; 3]) -> Vec<u8> {
    let mut code = Vec::new();
    let registers: [&[u8]; 3] =
        if own_convention { [b"\x48\xbf", b"\x48\xbe", b"\x48\xba"] } else { [b"\x48\xbb", b"\x48\xb9", b"\x48\xba"] };
    for (register, arg) in registers.into_iter().zip(args) {
        code.extend_from_slice(register); // movabs $arg, %rdi / %rsi / %rdx, or %rbx / %rcx / %rdx
        code.extend_from_slice(&arg.to_le_bytes());
    }
    code.push(0xb8); // mov $number, %eax
    code.extend_from_slice(&number.to_le_bytes());
    code.extend_from_slice(if own_convention { b"\x0f\x05" } else { b"\xcd\x80" });
    // xor %edi, %edi; test %eax, %eax; jns +4; mov %eax, %edi; neg %edi; mov $60, %eax; syscall
    code.extend_from_slice(b"\x31\xff\x85\xc0\x79\x04\x89\xc7\xf7\xdf\xb8\x3c\0\0\0\x0f\x05");
    let size = (120 + code.len() as u64).to_le_bytes();
    let mut file = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    for word in [0x40_0078_u64, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0");
    file.extend_from_slice(b"\x01\0\0\0\x05\0\0\0");
    for word in [0_u64.to_le_bytes(), 0x40_0000_u64.to_le_bytes(), 0x40_0000_u64.to_le_bytes(), size, size] {
        file.extend_from_slice(&word);
    }
    file.extend_from_slice(&0x1000_u64.to_le_bytes());
    file.extend_from_slice(&code);
    file
}
