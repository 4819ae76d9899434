//! System calls that the kernel refuses: profiles of every kind, the default one, and runc beside us.
#![cfg(target_arch = "x86_64")]

use dock_tests::bundle::{config, configure, one_call, room};
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ERRNO: &str = "SCMP_ACT_ERRNO";
const ALLOW: &str = "SCMP_ACT_ALLOW";

/// Numbers of x86-64, and of i386 where the name says so. getpgrp is a call that no runtime needs itself.
const GETPGRP: u32 = 111;
const PERSONALITY: u32 = 135;
const SOCKET: u32 = 41;
const KEYCTL: u32 = 250;
const GETPGRP_I386: u32 = 65;
const X32: u32 = 0x4000_0000;
/// What a signal that ends a process becomes: SIGSYS is 31.
const SIGSYS: i32 = 128 + 31;

fn program(room: &Room, own_convention: bool, number: u32, args: [u64; 3]) {
    let path = room.write("box/rootfs/call", one_call(own_convention, number, args));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

fn with_profile(profile: &Value) -> Value {
    let mut config = config(&["/call"]);
    for set in ["inheritable", "ambient"] {
        config["process"]["capabilities"][set] = json!([]);
    }
    config["linux"]["seccomp"] = profile.clone();
    config
}

fn rule(name: &str, action: &str, args: &Value) -> Value {
    json!({"names": [name, "a_call_that_no_kernel_has"], "action": action, "args": args})
}

fn arg(index: u32, op: &str, value: u64, second: u64) -> Value {
    json!({"index": index, "value": value, "valueTwo": second, "op": format!("SCMP_CMP_{op}")})
}

/// A profile that allows all but what the rule says.
fn deny(rule: &Value) -> Value {
    json!({"defaultAction": ALLOW, "syscalls": [rule]})
}

/// Each line: profile, convention, number, arguments, and the exit code: the error number of the call.
fn table() -> Vec<(Value, bool, u32, [u64; 3], i32)> {
    let high = 1_u64 << 32;
    let getpgrp = |action: &str| deny(&rule("getpgrp", action, &json!([])));
    let personality = |args: Value| deny(&rule("personality", ERRNO, &args));
    let with_errno = |action: &str, errno: u32| {
        let mut profile = getpgrp(action);
        profile["syscalls"][0]["errnoRet"] = errno.into();
        profile
    };
    let archs = |list: &[&str]| {
        let mut profile = getpgrp(ERRNO);
        profile["architectures"] = json!(list);
        profile
    };
    let (p, none) = (PERSONALITY, [0; 3]);
    let query = [0xffff_ffff, 0, 0];
    vec![
        (getpgrp(ERRNO), true, GETPGRP, none, 1),
        (with_errno(ERRNO, 111), true, GETPGRP, none, 111),
        (getpgrp("SCMP_ACT_KILL"), true, GETPGRP, none, SIGSYS),
        (getpgrp("SCMP_ACT_KILL_THREAD"), true, GETPGRP, none, SIGSYS),
        (getpgrp("SCMP_ACT_KILL_PROCESS"), true, GETPGRP, none, SIGSYS),
        (getpgrp("SCMP_ACT_TRAP"), true, GETPGRP, none, SIGSYS),
        (getpgrp("SCMP_ACT_LOG"), true, GETPGRP, none, 0),
        // Nobody traces: the call does not exist.
        (getpgrp("SCMP_ACT_TRACE"), true, GETPGRP, none, 38),
        (personality(json!([arg(0, "EQ", 0xffff_ffff, 0)])), true, p, query, 1),
        (personality(json!([arg(0, "EQ", 0xffff_ffff, 0)])), true, p, [0xffff_ffff + high, 0, 0], 0),
        (personality(json!([arg(0, "NE", 0xffff_ffff, 0)])), true, p, query, 0),
        (personality(json!([arg(0, "NE", 0xffff_ffff, 0)])), true, p, none, 1),
        (personality(json!([arg(0, "LT", 8, 0)])), true, p, [7, 0, 0], 1),
        (personality(json!([arg(0, "LT", 8, 0)])), true, p, [8, 0, 0], 0),
        (personality(json!([arg(0, "LE", 8, 0)])), true, p, [8, 0, 0], 1),
        (personality(json!([arg(0, "GE", high, 0)])), true, p, [high, 0, 0], 1),
        (personality(json!([arg(0, "GE", high, 0)])), true, p, query, 0),
        (personality(json!([arg(0, "GT", high, 0)])), true, p, [high, 0, 0], 0),
        (personality(json!([arg(0, "MASKED_EQ", 0xf0, 0x20)])), true, p, [0x2f, 0, 0], 1),
        (personality(json!([arg(0, "MASKED_EQ", 0xf0, 0x20)])), true, p, [0x3f, 0, 0], 0),
        // All conditions on different arguments, any of those on one.
        (personality(json!([arg(0, "EQ", 0, 0), arg(1, "EQ", 1, 0)])), true, p, [0, 2, 0], 0),
        (personality(json!([arg(0, "EQ", 0, 0), arg(1, "EQ", 1, 0)])), true, p, [0, 1, 0], 1),
        (personality(json!([arg(0, "EQ", 0, 0), arg(0, "EQ", 1, 0)])), true, p, [1, 0, 0], 1),
        (archs(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), false, GETPGRP_I386, none, 1),
        (archs(&["SCMP_ARCH_X86_64"]), false, GETPGRP_I386, none, SIGSYS),
        (archs(&["SCMP_ARCH_X86_64"]), true, GETPGRP | X32, none, SIGSYS),
        (archs(&[]), true, GETPGRP, none, 1),
    ]
}

#[test]
fn every_action_comparison_and_architecture_and_runc_agrees() {
    needs!(root, "busybox", "runc");
    let room = room();
    for (number, (profile, own, call, args, code)) in table().into_iter().enumerate() {
        program(&room, own, call, args);
        configure(&room, &with_profile(&profile));
        let ours = room.sh("ctr-spawn box");
        assert_eq!(ours.code, code, "{profile:#} {args:x?} {ours:#?}");
        let theirs = room.sh(&format!("timeout 30 runc --root rr run -b box dock-seccomp-{number}-$$ </dev/null"));
        assert_eq!(theirs.code, code, "runc: {profile:#} {args:x?} {theirs:#?}");
    }
}

#[test]
fn a_call_that_is_newer_than_the_profile_does_not_exist() {
    needs!(root, "busybox", "runc");
    let room = room();
    room.sh("tar -C box/rootfs -cf t.tar . && img-append --base scratch --layer t.tar -t img >/dev/null && img-unpack img made >/dev/null").ok();
    let made: Value = serde_json::from_slice(&fs::read(room.path("made/config.json")).expect("made")).expect("JSON");
    configure(&room, &with_profile(&made["linux"]["seccomp"]));
    for (call, code) in [(KEYCTL, 1), (GETPGRP, 0), (5000, 38)] {
        program(&room, true, call, [0; 3]);
        assert_eq!(room.sh("ctr-spawn box").code, code, "{call}");
        let runc = format!("timeout 30 runc --root rr run -b box dock-newer-{call}-$$ </dev/null");
        assert_eq!(room.sh(&runc).code, code, "runc {call}");
    }
    // Of a profile that names little, more is newer.
    let profile =
        json!({"defaultAction": ERRNO, "syscalls": [{"names": ["execve", "exit", "write"], "action": ALLOW}]});
    configure(&room, &with_profile(&profile));
    for (call, code) in [(GETPGRP, 38), (58, 1)] {
        program(&room, true, call, [0; 3]);
        assert_eq!(room.sh("ctr-spawn box").code, code, "{call}");
    }
}

#[test]
fn what_is_wrong_with_a_profile_is_said() {
    needs!(root, "busybox");
    let room = room();
    let wrong = |change: fn(&mut Value), message: &str| {
        let mut profile = deny(&rule("getpgrp", ERRNO, &json!([arg(0, "EQ", 1, 0)])));
        change(&mut profile);
        configure(&room, &with_profile(&profile));
        room.sh("ctr-spawn box").fails(125, message);
    };
    wrong(|profile| profile["defaultAction"] = json!("SCMP_ACT_MAYBE"), "SCMP_ACT_MAYBE: no such action");
    wrong(|profile| profile["defaultErrnoRet"] = json!(5), "SCMP_ACT_ALLOW takes no error number");
    wrong(|profile| profile["defaultAction"] = json!("SCMP_ACT_NOTIFY"), "cannot be the default action");
    wrong(|profile| profile["architectures"] = json!(["SCMP_ARCH_VAX"]), "SCMP_ARCH_VAX: no such architecture");
    wrong(|profile| profile["flags"] = json!(["SECCOMP_FILTER_FLAG_X"]), "SECCOMP_FILTER_FLAG_X: no such flag");
    wrong(|profile| profile["syscalls"][0]["args"][0]["index"] = json!(6), "argument 6");
    wrong(|profile| profile["syscalls"][0]["args"][0]["op"] = json!("SCMP_CMP_X"), "SCMP_CMP_X: no such comparison");
}

#[test]
fn flags_and_both_orders_of_no_new_privileges() {
    needs!(root, "busybox");
    let room = room();
    program(&room, true, GETPGRP, [0; 3]);
    let mut profile = deny(&rule("getpgrp", ERRNO, &json!([])));
    profile["flags"] = json!(["TSYNC", "LOG", "SPEC_ALLOW"].map(|flag| format!("SECCOMP_FILTER_FLAG_{flag}")));
    for no_new_privileges in [true, false] {
        for uid in [0, 1000] {
            let mut config = with_profile(&profile);
            config["process"]["noNewPrivileges"] = no_new_privileges.into();
            config["process"]["user"] = json!({"uid": uid, "gid": uid});
            configure(&room, &config);
            assert_eq!(room.sh("ctr-spawn box").code, 1, "{no_new_privileges} {uid}");
            let status = room.sh("ctr-spawn box -- grep -E 'Seccomp:|CapEff' /proc/self/status").ok();
            let capabilities = if uid == 0 { "00000000000004e1" } else { "0000000000000000" };
            assert_eq!(status, format!("CapEff:\t{capabilities}\nSeccomp:\t2"), "{no_new_privileges}");
        }
    }
}

#[test]
fn a_filter_does_not_hide_our_own_program_nor_descriptors() {
    needs!(root, "busybox");
    let room = room();
    // close_range and the calls by which a file is looked at are forbidden to the container.
    let names = ["close_range", "newfstatat", "statx", "stat", "open", "openat", "openat2"];
    let profile = json!({"defaultAction": ALLOW, "syscalls": [{"names": names, "action": ERRNO}]});
    for no_new_privileges in [true, false] {
        let mut config = with_profile(&profile);
        config["process"]["noNewPrivileges"] = no_new_privileges.into();
        configure(&room, &config);
        room.sh("ctr-spawn box -- /proc/self/exe").fails(126, "leads to the program that starts the container");
        // write(2) to descriptor 7, which the caller left open.
        program(&room, true, 1, [7, 0x40_0000, 1]);
        assert_eq!(room.sh("exec 7>out; ctr-spawn box").code, 9, "EBADF");
    }
}

/// docker's default profile, in a bundle that img-unpack and ctr-spec made.
#[test]
fn the_default_profile() {
    needs!(root, "busybox");
    let room = room();
    room.sh("tar -C box/rootfs -cf t.tar . && img-append --base scratch --layer t.tar -t img -c 'CMD [\"/call\"]' >/dev/null && img-unpack img made >/dev/null").ok();
    let code = |options: &str, call: u32, args: [u64; 3]| {
        room.sh("rm -rf made/rootfs/call").ok();
        program(&room, true, call, args);
        room.sh("cp box/rootfs/call made/rootfs/call").ok();
        room.sh(&format!("ctr-spec {options} made >/dev/null")).ok();
        room.sh("ctr-spawn made").code
    };
    const UNSHARE: u32 = 272;
    const CLONE3: u32 = 435;
    let user_namespace = [0x1000_0000, 0, 0];
    assert_eq!(code("", GETPGRP, [0; 3]), 0);
    assert_eq!(code("", KEYCTL, [0; 3]), 1);
    assert_eq!(code("", UNSHARE, user_namespace), 1);
    assert_eq!(code("", 56, user_namespace), 1, "clone");
    assert_eq!(code("", CLONE3, [0; 3]), 38);
    assert_eq!(code("", 5000, [0; 3]), 38);
    assert_eq!(code("", SOCKET, [38, 5, 0]), 1, "CVE-2026-31431: AF_ALG");
    assert_eq!(code("", SOCKET, [40, 1, 0]), 1, "AF_VSOCK");
    assert_eq!(code("", SOCKET, [2, 1, 0]), 0, "AF_INET");
    assert_eq!(code("--cap-add SYS_ADMIN", UNSHARE, user_namespace), 0, "the profile follows the capabilities");
    assert_eq!(code("--cap-drop SYS_ADMIN", UNSHARE, user_namespace), 1);
    assert_eq!(code("--security-opt seccomp=unconfined", KEYCTL, [0; 3]), 22);
    assert_eq!(code("--cap-add CHOWN", KEYCTL, [0; 3]), 22, "a choice stays");
    room.write(
        "own.json",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"getpgrp","action":"SCMP_ACT_ERRNO","errnoRet":77}]}"#,
    );
    assert_eq!(code("--security-opt seccomp=own.json", GETPGRP, [0; 3]), 77);
    assert_eq!(code("--security-opt seccomp=builtin", KEYCTL, [0; 3]), 1);
    room.sh("ctr-spec --security-opt seccomp=nosuch made").fails(2, "opening seccomp profile (nosuch) failed");
}

/// Takes one container's listener at a socket, prints what came with it, and answers each call with 55.
const AGENT: &str = r#"
import array, fcntl, json, os, select, socket, struct, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(1)
connection, _ = server.accept()
message, fds, _, _ = socket.recv_fds(connection, 65536, 4)
print(message.decode(), flush=True)
listener = fds[0]
while True:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    ((_, event),) = poll.poll()
    if event & (select.POLLHUP | select.POLLERR): break
    request = bytearray(80)
    fcntl.ioctl(listener, 0xc0502100, request)
    number = struct.unpack_from("Q", request)[0]
    fcntl.ioctl(listener, 0xc0182101, bytearray(struct.pack("QqiI", number, 0, -55, 0)))
"#;

#[test]
fn a_listener_decides() {
    needs!(root, "busybox", "python3", "runc");
    let room = room();
    program(&room, true, GETPGRP, [0; 3]);
    room.write("agent.py", AGENT);
    let mut states = Vec::new();
    for runtime in ["ctr-spawn --id notified box", "runc --root rr run -b box notified </dev/null"] {
        let mut profile = deny(&rule("getpgrp", "SCMP_ACT_NOTIFY", &json!([])));
        profile["listenerPath"] = json!(room.path("socket"));
        profile["listenerMetadata"] = json!("m");
        let mut config = with_profile(&profile);
        config["annotations"] = json!({"a": "b"});
        configure(&room, &config);
        let agent = "rm -f socket; timeout 60 python3 agent.py socket >heard & agent=$!; while [ ! -S socket ]; do sleep 0.05; done";
        let ran = room.sh(&format!("{agent}; timeout 60 {runtime}; code=$?; wait $agent; exit $code"));
        assert_eq!(ran.code, 55, "{runtime} {ran:#?}");
        let mut heard: Value = serde_json::from_slice(&fs::read(room.path("heard")).expect("heard")).expect("JSON");
        assert_eq!(heard["pid"], heard["state"]["pid"]);
        assert!(heard["pid"].as_i64().is_some_and(|pid| pid > 1));
        for member in ["pid", "ociVersion"] {
            heard.as_object_mut().expect("object").remove(member);
            heard["state"].as_object_mut().expect("object").remove(member);
        }
        states.push(heard);
    }
    assert_eq!(states[0], states[1]);

    let profile = deny(&rule("getpgrp", "SCMP_ACT_NOTIFY", &json!([])));
    configure(&room, &with_profile(&profile));
    room.sh("ctr-spawn box").fails(125, "SCMP_ACT_NOTIFY without a listenerPath");
    let mut profile = deny(&rule("write", "SCMP_ACT_NOTIFY", &json!([])));
    profile["listenerPath"] = json!(room.path("nobody"));
    configure(&room, &with_profile(&profile));
    room.sh("ctr-spawn box").fails(125, "cannot be used for write");
    profile["syscalls"][0]["names"] = json!(["getpgrp"]);
    configure(&room, &with_profile(&profile));
    room.sh("ctr-spawn box").fails(125, "connect(");
}
