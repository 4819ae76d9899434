//! What a container can do to who enters it.

use super::Web;
use dock_tests::needs;
use std::fs;

#[test]
fn cve_2016_9962_no_descriptor_and_no_ignored_signal_comes_along() {
    needs!(root, "busybox");
    let web = Web::start("");
    let caller = "trap '' PIPE USR1 INT QUIT; exec 7</etc/passwd 9</; ctr-exec";
    assert_eq!(web.sh(&format!("{caller} web -- ls /proc/self/fd")).ok(), "0\n1\n2\n3", "3 is ls's own directory");
    let text = web.sh(&format!("{caller} web -- grep -E '^Sig(Ign|Blk)' /proc/self/status")).ok();
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
    assert_eq!(web.sh("exec 3</dev/null; ctr-exec --preserve-fds 1 web -- ls /proc/self/fd").ok(), "0\n1\n2\n3\n4");
}

/// A process of the container that comes upon one that is still ctr-exec does not see its file. A long PATH keeps it at
/// the last moment, with no more rights than the spy, for most of its life.
#[test]
fn cve_2016_9962_nobody_looks_into_a_process_that_enters() {
    needs!(root, "busybox");
    let web = Web::start("");
    let spy = "while :; do for dir in /proc/[0-9]*; do read -r name <$dir/comm || continue
        case $name in ctr-exec) echo met; readlink $dir/exe;; esac; done; done >/tmp/seen 2>/dev/null";
    web.sh(&format!("ctr-exec -d web -- sh -c '{spy}'")).ok();
    let path = format!("PATH={}/bin", "n:".repeat(40_000));
    for user in ["root", "ann"] {
        let met = |web: &Web| web.sh("ctr-exec web -- grep -c met /tmp/seen").stdout.trim().parse().unwrap_or(0);
        let before: u32 = met(&web);
        web.eventually(|| {
            web.sh(&format!("ctr-exec -u {user} -e {path} web -- true")).ok();
            met(&web) >= before + 5
        });
    }
    // What it finds may be the command by then, never the program that entered.
    assert_eq!(web.sh("ctr-exec web -- cat /tmp/seen").ok().matches("ctr-exec").count(), 0);
}

/// Who may trace stops whatever of ours he sees and looks at all that it has. He sees it only when that is the command's.
#[test]
fn cve_2016_9962_who_may_trace_finds_nothing_of_the_host() {
    needs!(root, "busybox");
    let web = Web::start("--cap-add SYS_PTRACE");
    let rights = "grep -E '^(Cap|Uid|Gid|Groups|Seccomp:)'";
    let names = |dir: &str| format!("for kind in mnt pid net uts ipc cgroup; do readlink {dir}/ns/$kind; done");
    web.room.write("marker", "");
    let marker = web.room.path("marker").display().to_string();
    let spy = format!(
        "look() {{
            {}; {rights} $1/status; cat $1/environ
            [ ! -e $1/root{marker} ] || echo the root of the host; [ ! -e $1/cwd{marker} ] || echo a directory of the host
            for fd in $1/fd/*; do echo fd $(readlink $fd); done
        }}
        while :; do for dir in /proc/[0-9]*; do
            read -r name <$dir/comm || continue
            case $name in ctr-exec)
                kill -STOP ${{dir#/proc/}}; look $dir >/tmp/found; mv /tmp/found /tmp/seen$((n += 1)); kill -CONT ${{dir#/proc/}}
                while read -r name <$dir/comm; do :; done;;
            esac
        done; done 2>/dev/null",
        names("$1")
    );
    web.room.write("spy", spy);
    web.room.write("itself", format!("{}; {rights} /proc/self/status", names("/proc/self")));
    let itself = web.sh("ctr-exec web -- sh -c \"$(cat itself)\"").ok();
    web.sh("ctr-exec -d web -- sh -c \"$(cat spy)\"").ok();
    // A long search keeps it where it can be met.
    let path = format!("PATH={}/bin", "n:".repeat(40_000));
    let seen = web.room.path("root/containers").join(&web.id).join("upper/tmp");
    for number in 1..=5 {
        let mut found = String::new();
        web.eventually(|| {
            let caller = "exec 7</etc/passwd 9</; export SECRET=canary; ctr-exec";
            assert_eq!(web.sh(&format!("{caller} -e {path} web -- sh -c 'echo it ran; exit 7'")).code, 7);
            found = fs::read_to_string(seen.join(format!("seen{number}"))).unwrap_or_default().replace('\0', "");
            !found.is_empty()
        });
        let (descriptors, rest): (Vec<&str>, Vec<&str>) = found.lines().partition(|line| line.starts_with("fd "));
        assert!(itself.contains("mnt:[") && itself.contains("CapPrm"), "{itself}");
        assert_eq!(rest.join("\n"), itself);
        let right = |line: &&str| line.starts_with("fd pipe:[") || *line == "fd /dev/null";
        assert!(
            descriptors.len() == 4 && descriptors.iter().all(right),
            "its own three and the report: {descriptors:?}"
        );
    }
}

#[test]
fn cve_2019_5736_our_own_file_is_not_executed_inside() {
    needs!(root, "busybox");
    let web = Web::start("");
    web.sh("ctr-exec web -- /proc/self/exe --version").fails(126, "leads to the program that starts the container");
    web.sh("ctr-exec web -- sh -c 'printf \"#!/proc/self/exe\\n\" >/tmp/s; busybox chmod 755 /tmp/s'").ok();
    web.sh("ctr-exec web -- /tmp/s").fails(126, "leads to the program that starts the container");
}

/// Who may trace reaches the file behind a process that enters, and keeps it until nobody executes it any more: then
/// it could be written to.
#[test]
fn cve_2019_5736_who_may_trace_finds_a_sealed_copy() {
    needs!(root, "busybox");
    for (options, given) in [("--cap-add SYS_PTRACE", ""), ("", "--cap-add SYS_PTRACE")] {
        let web = Web::start(options);
        web.sh("mkdir own && cp \"$(command -v ctr-exec)\" own/ctr-exec && cp own/ctr-exec before").ok();
        let keep = "( exec 9<$1/exe; readlink /proc/self/fd/9; n=0
            while [ $n -lt 30 ]; do { echo evil >>/proc/self/fd/9; } 2>/dev/null && echo written; n=$((n+1)); sleep 0.05; done; echo over ) >>/tmp/seen";
        let spy = format!(
            "keep() {{ {keep}; exit; }}; echo >/tmp/ready; while :; do for dir in /proc/[0-9]*; do
            read -r name <$dir/comm || continue; case $name in ctr-exec) keep $dir;; esac; done; done 2>/tmp/err"
        );
        web.room.write("spy", spy);
        web.sh(&format!("ctr-exec {given} -d web -- sh -c \"$(cat spy)\"")).ok();
        let path = (0..2000).fold("PATH=".to_owned(), |path, number| format!("{path}/none{number}:"));
        web.eventually(|| {
            web.sh(&format!("own/ctr-exec -e {path}/bin web -- true")).ok();
            web.sh("ctr-exec web -- cat /tmp/seen").stdout.contains("ctr-exec")
        });
        web.eventually(|| web.sh("ctr-exec web -- cat /tmp/seen").stdout.contains("over"));
        assert_eq!(web.sh("ctr-exec web -- cat /tmp/seen").ok(), "/memfd:ctr-exec (deleted)\nover", "{options}{given}");
        web.sh("cmp own/ctr-exec before").ok();
        // Its last child leads a session that has the terminal.
        web.room.write("in", "own/ctr-exec -t web -- sh -c 'busybox cut -d\\  -f1,5,6 /proc/$$/stat; echo $$; echo here >/dev/tty; exit 3'");
        let ran = web.sh("script -qec 'sh in' /dev/null </dev/null");
        let text = ran.stdout.replace("^@", "");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!((&words[..4], words[4], ran.code), (&[words[0]; 4][..], "here", 3), "{ran:#?}");
        web.sh("own/ctr-exec -u nobody-there web -- true").fails(125, "nobody-there");
        // The copy is as good as the original: records and logs, too.
        assert_eq!(web.sh("ctr-ls web | { own/ctr-exec -i -- cat; }; echo x | own/ctr-exec -i web -- cat").ok(), "x");
        assert_eq!(web.sh("ctr-ls web | own/ctr-exec --log said -- nosuch").code, 127);
        let said = fs::read_to_string(web.room.path("said")).unwrap();
        assert!(said.starts_with("ctr-exec: ") && said.contains("nosuch: not found"), "{said}");
    }
}

#[test]
fn cve_2024_21626_no_descriptor_of_ours_is_a_working_directory() {
    needs!(root, "busybox");
    let web = Web::start("");
    for number in 3..16 {
        web.sh(&format!("ctr-exec -w /proc/self/fd/{number} web -- ls /")).fails(125, "working directory: ");
    }
}

/// What stands at /etc/passwd is the container's doing.
#[test]
fn a_passwd_that_is_no_file_is_refused_and_links_stay_inside() {
    needs!(root, "busybox");
    let web = Web::start("");
    web.sh("ctr-exec web -- sh -c 'busybox mv /etc/passwd /tmp/p && mkfifo /etc/passwd'").ok();
    web.sh("timeout 30 ctr-exec -u ann web -- true").fails(125, "/etc/passwd: in the container: is not a regular file");
    web.room.write("secret", "ann:x:0:0::/:\n");
    let secret = web.room.path("secret").display().to_string();
    for target in [secret.as_str(), "/proc/1/root/tmp/p", "../../../../../../../../tmp/none"] {
        web.sh(&format!("ctr-exec web -- sh -c 'busybox rm /etc/passwd; busybox ln -s {target} /etc/passwd'")).ok();
        let ran = web.sh("ctr-exec -u ann web -- true");
        assert_eq!(ran.code, 125, "{target}: {ran:#?}");
    }
    web.sh("ctr-exec web -- busybox ln -sf /tmp/p /etc/passwd").ok();
    assert_eq!(web.sh("ctr-exec -u ann web -- id -u").ok(), "1000");
}
