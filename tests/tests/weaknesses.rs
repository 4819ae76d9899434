//! The weaknesses that others had in starting and entering containers and in building images: a table of the tests of
//! each, and those tests that belong to no single tool.

use dock_tests::background::Yard;
use dock_tests::bundle::{config, configure, room};
use dock_tests::needs;
use dock_tests::swap::Swap;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Each has its test, by name.
#[test]
fn every_known_weakness_of_starting_has_its_test() {
    for (weakness, file, test) in [
        ("CVE-2019-5736, at the start", "spawn", "cve_2019_5736_our_own_program_is_not_executed_inside"),
        ("CVE-2019-5736, entering", "exec", "cve_2019_5736_our_own_file_is_not_executed_inside"),
        ("CVE-2019-5736, ptrace", "exec", "cve_2019_5736_who_may_trace_finds_a_sealed_copy"),
        ("CVE-2019-5736, joining", "weaknesses", "cve_2019_5736_a_joined_pid_namespace_finds_a_sealed_copy"),
        ("CVE-2019-5736, under a filter", "seccomp", "a_filter_does_not_hide_our_own_program_nor_descriptors"),
        ("CVE-2016-9962, at the start", "spawn", "descriptors_signals_and_privileges_start_clean"),
        ("CVE-2016-9962, entering", "exec", "cve_2016_9962_no_descriptor_and_no_ignored_signal_comes_along"),
        ("CVE-2016-9962, ptrace", "exec", "cve_2016_9962_nobody_looks_into_a_process_that_enters"),
        ("CVE-2016-9962, CAP_SYS_PTRACE", "exec", "cve_2016_9962_who_may_trace_finds_nothing_of_the_host"),
        ("CVE-2024-21626, at the start", "spawn", "cve_2024_21626_no_descriptor_of_ours_is_a_working_directory"),
        ("CVE-2024-21626, entering", "exec", "cve_2024_21626_no_descriptor_of_ours_is_a_working_directory"),
        ("CVE-2019-16884, CVE-2019-19921, CVE-2023-27561", "spawn", "cve_2019_16884_no_volume_on_proc"),
        ("CVE-2023-28642, CVE-2025-52881", "spawn", "cve_2026_41579_kernel_directories_are_no_links"),
        ("CVE-2025-31133", "spawn", "cve_2025_31133_a_device_of_the_image_is_not_taken_for_ours"),
        ("CVE-2025-31133, racing", "weaknesses", "cve_2025_31133_devices_that_change_places"),
        ("CVE-2025-52565, racing", "weaknesses", "cve_2025_31133_devices_that_change_places"),
        ("CVE-2025-52565", "hostile", "links_fifos_and_devices_where_a_runtime_looks"),
        ("CVE-2026-41579, CVE-2026-47766", "spawn", "cve_2026_41579_kernel_directories_are_no_links"),
        ("CVE-2021-30465, links", "spawn", "cve_2021_30465_a_bind_target_stays_in_the_root"),
        ("CVE-2021-30465, CVE-2024-45310", "weaknesses", "cve_2021_30465_a_target_that_changes_places"),
        ("CVE-2022-0811", "spawn", "cve_2022_0811_only_sysctls_of_a_namespace"),
        ("CVE-2022-0492", "weaknesses", "cve_2022_0492_cgroups_are_not_written_from_inside"),
        ("CVE-2018-15664, CVE-2019-10152, CVE-2023-0778", "cp", "cve_2018_15664_no_link_leads_out_of_the_container"),
        ("GHSA-rg2x-37c3-w2rh, GHSA-vp62-88p7-qqf5", "cp", "a_hostile_tar_stays_in_its_directory"),
        ("CVE-2019-14271, CVE-2022-1227", "weaknesses", "cve_2022_1227_no_program_of_the_image_is_run"),
        ("CVE-2022-29162, CVE-2022-24769", "weaknesses", "cve_2022_29162_nothing_is_inheritable"),
        ("CVE-2022-27649, CVE-2022-27650, CVE-2022-27651", "exec", "the_process_is_in_the_container"),
        ("CVE-2022-36109, CVE-2022-2989, CVE-2022-2990", "weaknesses", "cve_2022_36109_groups_of_a_user"),
        ("CVE-2023-25173", "spawn", "the_user_has_its_groups_and_no_more"),
        ("CVE-2024-40635", "spec", "cve_2024_40635_users_out_of_range_and_cve_2026_46680_digits_as_names"),
        ("CVE-2026-30892", "exec", "options_change_what_config_json_says"),
        ("CVE-2024-9676, CVE-2026-53489, at the start", "spec", "cve_2024_9676_passwd_as_link_or_fifo"),
        ("CVE-2024-9676, entering", "exec", "a_passwd_that_is_no_file_is_refused_and_links_stay_inside"),
        ("CVE-2020-15257", "weaknesses", "cve_2020_15257_no_abstract_socket"),
        ("CVE-2026-53488, CVE-2026-53492", "spec", "cve_2026_53488_labels_of_an_image_are_data"),
        ("CVE-2026-55686, a working directory", "hostile", "links_fifos_and_devices_where_a_runtime_looks"),
        ("CVE-2026-57231", "weaknesses", "cve_2026_57231_an_image_takes_no_variable_of_the_caller"),
        ("CVE-2017-1002101, a part of a volume", "volumes", "cve_2017_1002101_no_link_leads_out_of_a_volume"),
        ("CVE-2022-23648, CVE-2025-9566", "volumes", "filling_follows_links_inside_the_image_only"),
        ("CVE-2026-31431", "seccomp", "the_default_profile"),
        ("GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p", "spawn", "masked_and_read_only_paths"),
        ("CVE-2022-31030, CVE-2022-23471", "weaknesses", "cve_2022_31030_attaching_leaves_nothing_behind"),
        ("CVE-2025-64329", "weaknesses", "cve_2022_31030_attaching_leaves_nothing_behind"),
    ] {
        assert!(source(file).contains(&format!("#[test]\nfn {test}()")), "{weakness}: no test {test} in {file}");
    }
}

/// The tests of one name: a file, or the files of a folder.
fn source(name: &str) -> String {
    let at = dock_tests::top().join("tests/tests").join(name);
    let Ok(entries) = fs::read_dir(&at) else { return fs::read_to_string(at.with_extension("rs")).unwrap() };
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// Each of the builder's too.
#[test]
fn every_known_weakness_of_building_has_its_test() {
    for (weakness, file, test) in [
        ("CVE-2024-1753, CVE-2024-9675", "build", "cve_2024_1753_and_9675_a_source_of_a_mount_never_leaves_its_tree"),
        ("CVE-2024-23651", "weaknesses", "cve_2024_23651_the_source_of_a_mount_that_changes_places"),
        ("CVE-2024-23652", "build", "cve_2024_23652_places_to_mount_on_follow_links_inside_only"),
        ("CVE-2024-23653, CVE-2026-33747, syntax", "build", "cve_2024_23653_a_syntax_line_runs_nothing"),
        ("CVE-2024-23653, rights", "build", "networks_and_rights_are_the_callers_to_give"),
        ("CVE-2024-9407", "weaknesses", "cve_2024_9407_a_mount_does_not_choose_its_propagation"),
        ("CVE-2025-4953, CVE-2024-11218", "build", "a_bind_mount_shows_the_context_and_takes_nothing_back"),
        ("CVE-2026-33748", "build", "git_contexts_and_git_sources"),
        ("CVE-2026-44517", "build", "a_hostile_context_stays_in_its_place"),
        ("CVE-2024-24557", "build", "cve_2024_24557_a_forged_history_is_not_the_cache"),
        ("CVE-2024-24557, a cache from elsewhere", "build", "a_cache_elsewhere_that_was_tampered_with_is_not_used"),
        ("CVE-2021-3602", "build", "run_sees_the_image_and_the_arguments_and_nothing_of_the_caller"),
        ("CVE-2019-14271, COPY", "build", "cve_2019_14271_and_kin_a_source_never_leaves_the_context"),
        ("CVE-2018-15664, COPY", "build", "cve_2018_15664_a_destination_link_stays_in_the_image"),
        ("secrets in layers", "build", "a_secret_is_seen_by_its_command_and_by_nobody_after_it"),
    ] {
        let text = source(file);
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{weakness}: no test {test} in {file}.rs");
    }
}

/// The source of a cache mount is a directory and a link to the host in turn, as a step beside this one could make it:
/// what is mounted is of the cache, or the step is refused.
#[test]
fn cve_2024_23651_the_source_of_a_mount_that_changes_places() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.room.write("outside/canary", "of the host");
    let cache = yard.room.path("root/cache/mounts/c");
    yard.room.write("root/cache/mounts/c/sub/in", "of the cache");
    symlink(yard.room.path("outside"), cache.join("link")).unwrap();
    yard.room.write(
        "ctx/Dockerfile",
        "FROM busybox\nARG N\nRUN --mount=type=cache,id=c,source=sub,target=/x echo seen $N $(ls /x)\n",
    );
    let swap = Swap::start(cache.join("sub"), cache.join("link"));
    let script = "n=0; until [ $(grep -c '^#2 .* seen' log) -ge 8 ] || [ $n = 200 ]; do
            dfile-build --progress plain --build-arg N=$n ctx >>log 2>&1; n=$((n+1)); done; cat log";
    let ran = yard.sh(&format!(": >log; {script}"));
    drop(swap);
    assert!(ran.stdout.contains(" seen") && !ran.stdout.contains("canary"), "{ran:?}");
    assert_eq!(yard.sh("ls outside").ok(), "canary");
}

#[test]
fn cve_2024_9407_a_mount_does_not_choose_its_propagation() {
    let yard = dock_tests::Room::new();
    for option in ["bind-propagation=shared", "propagation=rshared", "rshared"] {
        yard.write("ctx/Dockerfile", format!("FROM busybox\nRUN --mount=type=bind,target=/x,{option} true\n"));
        yard.sh("dfile-build -q ctx").fails(1, "Dockerfile:2: --mount");
    }
}

/// A directory of a volume and a link to the host change places all the time, as another container could do it; what is
/// mounted on it lands in the container, or the start is refused: the place to mount on is never made on the host.
#[test]
fn cve_2021_30465_a_target_that_changes_places() {
    needs!(root, "busybox");
    let room = room();
    room.write("data/file", "bound");
    fs::create_dir_all(room.path("shared/dir")).unwrap();
    fs::create_dir_all(room.path("outside")).unwrap();
    symlink(room.path("outside"), room.path("shared/link")).unwrap();
    let bind = |destination: &str, source: &str| json!({"destination": destination, "type": "bind", "source": room.path(source), "options": ["rbind"]});
    let mut config = config(&["cat", "/shared/dir/vol/file", "/shared/link/vol/file"]);
    config["mounts"].as_array_mut().unwrap().extend([bind("/shared", "shared"), bind("/shared/dir/vol", "data")]);
    configure(&room, &config);
    let swap = Swap::start(room.path("shared/dir"), room.path("shared/link"));
    let ran = room.sh_without_mounts_left("n=0; while [ $n -lt 40 ]; do ctr-spawn box; n=$((n+1)); done");
    drop(swap);
    assert!(ran.stdout.contains("bound"), "now and then it works: {ran:#?}");
    assert_eq!(room.sh("find outside").ok(), "outside", "{ran:#?}");
}

/// In a /dev that is a volume, somebody puts a file in the place of the null device and a link in that of the console,
/// and back, all the time. What is masked shows the null device or the start is refused; nothing is mounted elsewhere.
#[test]
fn cve_2025_31133_devices_that_change_places() {
    needs!(root, "busybox");
    let room = room();
    room.write("box/rootfs/masked", "secret");
    room.write("box/rootfs/elsewhere", "elsewhere");
    let mut config = config(&["sh", "-c", "cat /masked /elsewhere; grep -c ' /elsewhere ' /proc/self/mountinfo"]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] == "/proc");
    mounts.push(json!({"destination": "/dev", "type": "bind", "source": room.path("dev"), "options": ["bind"]}));
    mounts.push(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]}));
    config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/masked"]);
    configure(&room, &config);
    let script =
        "mkdir -p dev/pts; echo evil >dev/evil; ln -s /elsewhere dev/link; mknod -m 666 dev/null c 1 3; : >dev/console
        cd dev; while [ ! -e ../over ]; do mv null t; mv evil null; mv null evil; mv t null
            mv console u; mv link console; mv console link; mv u console; done 2>/dev/null & race=$!
        cd ..; n=0; while [ $n -lt 120 ]; do timeout -s KILL 30 ctr-spawn -t box; n=$((n+1)); done </dev/null; touch over; wait $race";
    let ran = room.sh(script);
    assert!(ran.stdout.contains("elsewhere"), "now and then it works: {ran:#?}");
    assert!(ran.stdout.lines().all(|line| ["elsewhere0", "elsewhere", "0"].contains(&line.trim())), "{ran:#?}");
    assert_eq!(room.sh("cat box/rootfs/masked box/rootfs/elsewhere").ok(), "secretelsewhere");
}

/// Who may trace, in a PID namespace that another container joins, reaches the file behind a process that starts there.
#[test]
fn cve_2019_5736_a_joined_pid_namespace_finds_a_sealed_copy() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.room.write(
        "spy",
        "keep() { ( exec 9<$1/exe; busybox readlink /proc/self/fd/9; n=0
            while [ $n -lt 30 ]; do { echo evil >>/proc/self/fd/9; } 2>/dev/null && echo written; n=$((n+1)); busybox usleep 50000; done; echo over ); sleep 80; }
        while :; do for dir in /proc/[0-9]*; do read -r name <$dir/comm || continue; case $name in ctr-spawn) keep $dir;; esac; done; done 2>/dev/null",
    );
    yard.sh("mkdir own && cp \"$(command -v ctr-spawn)\" own/ctr-spawn && cp own/ctr-spawn before").ok();
    yard.sh("dock run -d --name spy --cap-add SYS_PTRACE busybox sh -c \"$(cat spy)\"").ok();
    let id = yard.sh("dock create --name joins --pid container:spy busybox echo joined").ok();
    yard.until(&format!("own/ctr-spawn root/containers/{id} >/dev/null; dock logs spy"), "/");
    assert_eq!(yard.sh(&format!("own/ctr-spawn root/containers/{id}")).ok(), "joined");
    yard.until("dock logs spy", "over");
    assert_eq!(yard.sh("dock logs spy").ok(), "/memfd:ctr-spawn (deleted)\nover");
    yard.sh("cmp own/ctr-spawn before").ok();
}

/// A release agent is a program that the host runs: nobody inside names it.
#[test]
fn cve_2022_0492_cgroups_are_not_written_from_inside() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let script = "for file in $(busybox find /sys/fs/cgroup -type f); do { echo 1 >$file; } 2>/dev/null && echo written $file; done
        busybox mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; busybox mkdir /tmp/c
        for type in cgroup cgroup2; do busybox mount -t $type x /tmp/c 2>/dev/null && echo mounted $type; done
        busybox grep -c '^[^ ]* /sys/fs/cgroup[^ ]* [^ ]* rw' /proc/mounts; busybox grep -q ' /sys/fs/cgroup.* ro' /proc/mounts && echo read-only";
    yard.room.write("script", script);
    for options in ["", "-m 64m --pids-limit 50"] {
        let ran = yard.sh(&format!("dock run --rm {options} busybox sh -c \"$(cat script)\""));
        assert_eq!(ran.stdout, "0\nread-only\n", "{options}: {ran:#?}");
    }
}

/// ps of the image's, its libraries and its nsenter see nothing of top, cp, stats and exec.
#[test]
fn cve_2022_1227_no_program_of_the_image_is_run() {
    needs!(root, "busybox", "ps");
    let yard = Yard::new();
    let evil = "for name in ps nsenter tar cp; do busybox rm -f /bin/$name; printf '#!/bin/sh\\ntouch /run-of-$name\\n' >/bin/$name; busybox chmod 755 /bin/$name; done
        busybox mkdir -p /lib/x86_64-linux-gnu; for lib in libc.so.6 libnss_files.so.2; do echo x >/lib/x86_64-linux-gnu/$lib; done; echo ready; sleep 74";
    yard.room.write("evil", evil);
    yard.sh("dock run -d --name evil busybox sh -c \"$(cat evil)\"").ok();
    yard.until("dock logs evil", "ready");
    assert!(yard.sh("dock top evil").ok().contains("sleep 74"));
    yard.sh("dock stats --no-stream evil; dock cp evil:/etc/passwd got; dock cp evil /got").stdout.clear();
    yard.sh("dock cp got evil:/got").ok();
    assert_eq!(yard.sh("dock exec evil sh -c 'ls -d /run-of-* 2>/dev/null | wc -l; cat /got | wc -l'").ok(), "0\n2");
}

/// A name without a value is a wish of who calls, and nothing in an image.
#[test]
fn cve_2026_57231_an_image_takes_no_variable_of_the_caller() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let change = r#"{"config":{"Env":["CANARY","CANARY*","*","PATH=/bin"]}}"#;
    yard.sh(&format!("img-append --base busybox --change-json '{change}' -t takes")).ok();
    yard.room.write("ctx/Dockerfile", "FROM takes\nENV MORE=x$CANARY\nRUN env\n");
    let script =
        "export CANARY=of-the-host; dock run --rm takes env; dock run -d --name takes takes sleep 600 >/dev/null
        dock exec takes env; dock build --progress plain ctx 2>&1";
    let ran = yard.sh(script);
    assert_eq!((ran.code, ran.stdout.matches("PATH=/bin").count()), (0, 3), "{ran:#?}");
    assert!(!ran.stdout.contains("of-the-host"), "{ran:#?}");
}

#[test]
fn cve_2022_29162_nothing_is_inheritable() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let of = |ran: dock_tests::Ran| {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        let sets = text.lines().filter(|line| line.contains("CapInh:") || line.contains("CapAmb:")).count();
        let empty =
            text.matches("CapInh:\t0000000000000000").count() + text.matches("CapAmb:\t0000000000000000").count();
        (sets, empty)
    };
    for options in ["", "--privileged", "-u www", "--cap-add ALL", "--cap-add SYS_ADMIN -u 5"] {
        let ran = yard.sh(&format!("dock run --rm {options} busybox cat /proc/self/status"));
        assert_eq!(of(ran), (2, 2), "run {options}");
    }
    yard.sh("dock run -d --name aa busybox sleep 75").ok();
    for options in ["", "--privileged", "-u www"] {
        let ran = yard.sh(&format!("dock exec {options} aa cat /proc/self/status"));
        assert_eq!(of(ran), (2, 2), "exec {options}");
    }
    yard.room.write("ctx/Dockerfile", "FROM busybox\nRUN cat /proc/self/status >/status\n");
    yard.sh("dfile-build -q -t built ctx").ok();
    assert_eq!(of(yard.sh("dock run --rm built cat /status")), (2, 2), "build");
}

/// The groups of the image's file and the primary one, and none of the caller's.
#[test]
fn cve_2022_36109_groups_of_a_user() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("printf 'root:x:0:\nwww:x:34:\nmore:x:50:www,root\nfew:x:51:nobody\n' >t/etc/group; tar -C t -cf t.tar . && img-append --base scratch --layer t.tar -t it >/dev/null").ok();
    for (user, want) in [
        ("www", "34 50"),
        ("33", "34 50"),
        ("www:few", "51"),
        ("33:0", "0"),
        ("77", "0"),
        ("77:78", "78"),
        ("root", "0 50"),
        ("0", "0 50"),
    ] {
        assert_eq!(yard.sh(&format!("dock run --rm -u {user} it id -G")).ok(), want, "run -u {user}");
    }
    yard.sh("dock run -d --name aa it sleep 76").ok();
    for (user, want) in [("www", "34 50"), ("www:few", "51"), ("77", "0")] {
        assert_eq!(yard.sh(&format!("dock exec -u {user} aa id -G")).ok(), want, "exec -u {user}");
    }
    assert_eq!(yard.sh("dock run --rm -u www --group-add 60 it id -G").ok(), "34 50 60");
}

/// Who shares the host's network reaches each abstract socket in it: there is none of ours.
#[test]
fn cve_2020_15257_no_abstract_socket() {
    needs!(root, "busybox", "unshare");
    let yard = Yard::new();
    let sockets = yard
        .sh("unshare -n sh -c 'dock run -d -i --name aa --network host busybox sleep 77 >/dev/null; dock attach aa >/dev/null 2>&1 & sleep 0.3; dock exec aa cat /proc/net/unix; dock rm -f aa >/dev/null; wait'")
        .ok();
    assert!(sockets.contains("attach.sock"), "{sockets}");
    assert!(!sockets.contains(" @"), "{sockets}");
    yard.sh("dock run -d --name bb busybox sleep 77").ok();
    let modes = yard.sh("find run/containers -name attach.sock -printf '%m %h\\n' -o -type d -printf '%m %p\\n'").ok();
    assert!(modes.lines().any(|line| line.starts_with("700 ")), "{modes}");
}

/// Who attaches and goes leaves the keeper as it was.
#[test]
fn cve_2022_31030_attaching_leaves_nothing_behind() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d -i --name aa busybox sleep 78").ok();
    let keeper = yard.keeper("aa")["pid"].to_string();
    let sizes = || {
        let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
        let number = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().count(), number("Threads:"), number("RssAnon:"))
    };
    let attach = |times: u32| {
        yard.sh(&format!("n=0; while [ $n -lt {times} ]; do timeout -s KILL 0.05 ctr-attach --no-stdin aa 2>/dev/null; n=$((n+1)); done"));
    };
    attach(10);
    let (descriptors, threads, memory) = sizes();
    attach(60);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while sizes().0 > descriptors && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let after = sizes();
    assert!(after.0 <= descriptors && after.1 <= threads, "{:?} {after:?}", (descriptors, threads));
    assert!(after.2 <= memory + 512, "{memory} kB, then {} kB", after.2);
}

/// Each says what is missing, in one line, at the start and when one enters.
#[test]
fn what_cannot_be_executed_is_named() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let mut loader = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    // One program header, of the kind PT_INTERP, at 64; the name follows it.
    loader.extend(
        [&0u64.to_le_bytes()[..], &64u64.to_le_bytes(), &[0; 12], &[64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]].concat(),
    );
    let name = b"/lib/ld-musl-x86_64.so.1\0";
    let length = u64::try_from(name.len()).unwrap().to_le_bytes();
    loader.extend(
        [&[3, 0, 0, 0, 4, 0, 0, 0][..], &120u64.to_le_bytes(), &[0; 16], &length, &length, &[1, 0, 0, 0, 0, 0, 0, 0]]
            .concat(),
    );
    loader.extend(name);
    let of = |machine: u8| {
        [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0"[..], &[machine, 0, 1, 0, 0, 0], &[0; 40]].concat()
    };
    let files: [(&str, u32, &[u8], i32, &str); 10] = [
        (
            "interpreter",
            0o755,
            b"#!/usr/bin/python3 -u\n",
            127,
            "its #! line names /usr/bin/python3, which is not in the container",
        ),
        ("env", 0o755, b"#! /usr/bin/env sh\n", 127, "its #! line names /usr/bin/env, which is not in the container"),
        (
            "crlf",
            0o755,
            b"#!/bin/sh\r\necho\r\n",
            127,
            "its #! line names \"/bin/sh\" with a CR behind it: the file has DOS line ends",
        ),
        ("loader", 0o755, &loader, 127, "its loader names /lib/ld-musl-x86_64.so.1, which is not in the container"),
        ("arm64", 0o755, &of(183), 126, "is a program for arm64, which this machine cannot run"),
        ("riscv64", 0o755, &of(243), 126, "is a program for riscv64, which this machine cannot run"),
        ("mode", 0o644, b"#!/bin/sh\n", 126, "no execute permission (chmod +x)"),
        ("text", 0o755, b"echo\n", 126, "neither a program nor a script: it has no #! line"),
        ("empty", 0o755, b"", 126, "is empty"),
        ("dir/in", 0o755, b"", 126, "is empty"),
    ];
    for (name, mode, content, ..) in files {
        let path = yard.room.write(&format!("t/x/{name}"), content);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    yard.sh("tar -C t -cf t.tar . && img-append --base scratch --layer t.tar -t it >/dev/null && img-unpack it box >/dev/null").ok();
    yard.sh("dock run -d --name aa it sleep 79").ok();
    let others = [
        ("/no/such", 127, "no such file"),
        ("/x/dir", 126, "is a directory"),
        ("nosuch", 127, "not found in the container's PATH"),
    ];
    let files = files.map(|(name, _, _, code, message)| (format!("/x/{name}"), code, message));
    for (path, code, message) in
        others.map(|(path, code, message)| (path.to_owned(), code, message)).into_iter().chain(files)
    {
        for tool in ["ctr-spawn box", "ctr-exec aa"] {
            let ran = yard.sh(&format!("{tool} -- {path}")).fails(code, &format!("exec: {path}: {message}"));
            assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
        }
    }
    assert!(Path::new(&yard.room.path("box/rootfs/x/mode")).exists());
    let nobody = "unable to find user nosuch: no matching entries in passwd file";
    yard.sh("dock run --rm -u nosuch it true").fails(125, nobody);
    yard.sh("ctr-exec -u nosuch aa -- true").fails(125, nobody);
}
