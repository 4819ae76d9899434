//! Containers of an ordinary user beside podman's: the same command lines, and what a program in there sees. Where the
//! two differ it is because podman differs from docker, and the comment beside it says so.

use dock_tests::background::Yard;
use dock_tests::{Room, needs};

/// An ordinary user that no machine has, and his range.
const ANN: u32 = 4323;
const RANGES: &str = "roomer:400000:65536\n";

/// Prints what the container is to a program. Left out: the primary group among the others (podman does not list it,
/// docker does since CVE-2022-36109); noexec on /dev, nodev and nosuid on volumes (only podman), nodev on the root
/// (only here); /proc/interrupts and /sys/dev/block (masked here, masked there); a user namespace inside (docker's
/// filter refuses it); the terminals of the host that --privileged brings; whether ping may, which is podman's setting.
const LOOK: &str = r#"for f in uid_map gid_map; do busybox sed "s/^/$f /" /proc/self/$f | busybox tr -s ' '; done
echo setgroups $(cat /proc/self/setgroups)
busybox grep -E '^(Uid|Gid|Cap|NoNew|Seccomp:|Umask)' /proc/self/status
echo groups $(for g in $(busybox id -g) $(busybox id -G); do echo $g; done | busybox sort -u)
echo limits $(busybox grep -E 'open files|core file' /proc/self/limits)
while read -r _ _ _ _ at options rest; do
  type=${rest#*- } type=${type%% *}
  case $at in
    /proc/interrupts) ;;
    / | /v | /h | /t) echo "mount $at ${options%%,*}" ;;
    /dev) echo "mount $at $type $options" | busybox sed s/,noexec// ;;
    /proc | /proc/* | /sys | /sys/firmware | /dev/pts | /dev/shm | /dev/mqueue) echo "mount $at $type $options" ;;
  esac
done </proc/self/mountinfo | busybox sort
busybox find /dev -not -path '/dev/pts/*' -not -path '/dev/tty?*' -not -path '/dev/shm/*' | busybox sort |
  busybox xargs busybox stat -c 'node %n %F %a %u:%g %t:%T' 2>&1
busybox stat -c 'owner %n %u:%g %a' / /bin /etc /tmp /proc /sys /home/www /home/www/f /v /h /t 2>&1
for f in sys/kernel/hostname sysrq-trigger kcore keys timer_list acpi scsi sys/kernel/core_pattern sys/net/ipv4/ip_forward 1/oom_score_adj; do
  echo "write $f $( (echo 0 >>/proc/$f) 2>&1 | busybox sed 's/.*: //')"
done
echo hostname $(busybox hostname | busybox sed 's/^[0-9a-f]\{12\}$/ID/')
echo oom $(cat /proc/self/oom_score_adj) cwd $(busybox pwd) home $HOME path $PATH
t() { echo "try $* -> $("$@" 2>&1 | busybox head -n 1)"; }
t busybox mknod /tmp/n c 1 3; t busybox chown 5:6 /tmp; t busybox chown 70000 /tmp; t busybox chroot / true
t busybox mount -t tmpfs x /tmp; t busybox hostname new; t busybox dmesg; t busybox renice -n -1 1; t busybox unshare -m true
t busybox ip link set lo down; t busybox touch /x; t busybox touch /h/made; t busybox chown 33 /h/made; t kill -0 1; true
"#;

/// Options, and what only podman is told. A read-only root has its /tmp and /run in memory there, in docker it has not.
/// Not here: --cap-add with another user than root (podman makes it ambient, docker does not), --ipc host (podman
/// wants a /dev/mqueue of the host's), --init (podman brings no program for it).
const CASES: [(&str, &str); 14] = [
    ("", ""),
    ("-u www --hostname box", ""),
    ("-u 7:8 --group-add 55 --security-opt no-new-privileges", ""),
    ("-u 65536:65536 --read-only", "--read-only-tmpfs=false"),
    ("--cap-add SYS_ADMIN --uts host", ""),
    ("--cap-add NET_ADMIN --cap-drop CHOWN --security-opt seccomp=unconfined", ""),
    ("--cap-drop ALL --tmpfs /t:size=1m,mode=700", ""),
    ("--privileged", ""),
    ("--network host", ""),
    ("--pid host", ""),
    ("--userns host --cgroupns host", ""),
    ("-v vol:/v -v \"$PWD/$side:/h\"", ""),
    ("-v \"$PWD/$side:/h:ro\" -w /home/www -e HOME=/x --oom-score-adj 500", ""),
    ("--device /dev/full:/dev/also --sysctl net.ipv4.ip_forward=1 --shm-size 1m", ""),
];

/// Command lines that say something by their exit code. Not here: limits, which podman leaves out with a warning where
/// the user has no cgroup.
const ENDS: [(&str, i32); 6] = [
    ("busybox sh -c 'exit 3'", 3),
    ("busybox sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'", 137),
    ("busybox /none", 127),
    ("busybox /etc/passwd", 126),
    ("--device /dev/none busybox true", 125),
    ("-v none:relative busybox true", 125),
];

/// Runs each case by a command, one file of output each.
fn script(side: &str, program: &str) -> String {
    let mut script = format!(
        "side={side}; mkdir -p $side; umask 022
        run() {{
            case $* in *'--network host'*) ;; *) set -- --network none \"$@\" ;; esac
            {program} run --rm --pull never --ulimit nofile=900:900 --ulimit core=0:0 --ulimit nproc=900:900 \"$@\"
        }}\n"
    );
    for (at, (options, more)) in CASES.iter().enumerate() {
        let more = if program == "dock" { "" } else { more };
        let line = format!("run {options} {more} -v \"$PWD/look:/look:ro\" busybox sh /look");
        script += &format!("{line} >{side}.{at} 2>&1 || echo failed $? >>{side}.{at}\n");
    }
    for (at, (line, _)) in ENDS.iter().enumerate() {
        script += &format!("run {line} >{side}.ends.said 2>&1; echo $? >{side}.ends.{at}\n");
    }
    let at_once = if program == "dock" { "" } else { "-t 0" };
    script += &format!("{program} run -d --name back --network none busybox sleep 1000 >/dev/null\n");
    script += &format!(
        "{program} exec back busybox grep -E 'Cap|NoNew|Seccomp:' /proc/self/status >{side}.exec 2>&1\n\
         {program} exec -u www -w /tmp -e A=1 back sh -c 'id -u; busybox pwd; echo $A; exit 7' >>{side}.exec 2>&1\n\
         echo $? >>{side}.exec; {program} rm -f {at_once} back >/dev/null; find $side -printf '%p %U:%G %m\\n' | sed s,^$side,, >{side}.outside\n"
    );
    script
}

/// As the user, in namespaces of its own: podman leaves a process behind that keeps its user namespace.
fn beside(room: &Room, script: &str) {
    room.write("script", script);
    let ran = Room::new().sh(&format!(
        "cd {} && exec unshare --mount --pid --fork --kill-child --mount-proc sh -ec '
            for f in subuid subgid; do [ -e /etc/$f ] || : >/etc/$f; mount --bind etc/ranges /etc/$f; done
            mount --bind etc/passwd /etc/passwd; mkdir -m 700 xdg; chown {ANN}:{ANN} xdg
            HOME=$PWD TMPDIR=$PWD XDG_RUNTIME_DIR=$PWD/xdg setpriv --reuid {ANN} --regid {ANN} --clear-groups sh script'",
        room.path("").display()
    ));
    ran.ok();
}

#[test]
fn a_program_sees_what_it_sees_in_podmans() {
    needs!(root, "busybox", "setpriv", "newuidmap", "podman", "runc");
    let yard = Yard::of(Room::of_user_with_ranges(ANN, RANGES));
    let room = &yard.room;
    room.write("look", LOOK);
    // Beside the yard's own image a file of another user in a directory that is closed.
    yard.sh(
        "mkdir -p u/home/www u/proc u/sys u/dev && echo f >u/home/www/f && chmod 750 u/home/www && tar -C u --owner=33 --group=34 -cf u.tar home/www \
         && tar -C t --owner=0 --group=0 -cf t.tar . && tar -C u --owner=0 --group=0 -rf t.tar proc sys dev \
         && img-append --base scratch --layer t.tar --layer u.tar -c 'CMD [\"sh\"]' -t busybox >/dev/null && dock save -o b.tar busybox",
    )
    .ok();
    yard.sh(&script("ours", "dock")).ok();
    let podman = "podman --storage-driver vfs --runtime runc --cgroup-manager cgroupfs --log-level error";
    beside(room, &format!("{podman} load -q -i b.tar >/dev/null\n{}", script("theirs", podman)));
    let read = |name: String| std::fs::read_to_string(room.path(&name)).unwrap();
    for (at, (options, _)) in CASES.iter().enumerate() {
        let [ours, theirs] = ["ours", "theirs"].map(|side| read(format!("{side}.{at}")));
        assert!(ours.lines().count() > 60 && !ours.contains("failed "), "{options}: {ours}");
        let differs = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
        assert!(
            ours == theirs,
            "{options}: {differs:#?} of {} and {} lines",
            ours.lines().count(),
            theirs.lines().count()
        );
    }
    for (at, (line, code)) in ENDS.iter().enumerate() {
        let codes = ["ours", "theirs"].map(|side| read(format!("{side}.ends.{at}")));
        assert_eq!(codes, [format!("{code}\n"), format!("{code}\n")], "{line}");
    }
    assert_eq!(read("ours.exec".into()), read("theirs.exec".into()));
    let outside = read("ours.outside".into());
    assert_eq!(outside, read("theirs.outside".into()));
    assert!(outside.contains("/made 400032:4323 644"), "{outside}");
}
