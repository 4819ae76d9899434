//! Processes of containers and what they use.

use dock_tests::background::Yard;
use dock_tests::needs;

#[test]
fn top_lists_the_container_s_processes_and_no_others() {
    needs!(root, "busybox", "ps");
    let yard = Yard::new();
    yard.sh("dock run -d --name web busybox sh -c 'sleep 71 & sleep 72'; dock run -d --name other busybox sleep 73")
        .ok();
    // The shell's own line has both names already: wait for what it starts, and becomes.
    yard.until("dock top web -o pid,args | grep -c ' sleep 7[12]$'", "2");
    let listing = yard.sh("dock top web").ok();
    let lines: Vec<_> = listing.lines().collect();
    assert!(lines[0].contains("PID") && lines[0].contains("CMD"), "{listing}");
    assert_eq!(
        (lines.len(), listing.contains("sleep 71"), listing.contains("sleep 73")),
        (3, true, false),
        "{listing}"
    );
    let own = yard.sh("dock top web -o pid,comm -e").ok();
    assert_eq!(own.lines().count(), 3, "{own}");
    yard.sh("dock top web -o comm").fails(1, "Couldn't find PID field in ps output");
    yard.sh("dock stop -t 0 web >/dev/null; dock top web").fails(1, "is not running");
}

#[test]
fn stats_tell_who_works_and_who_sleeps() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d --name busy -m 64m busybox sh -c 'while :; do :; done' >/dev/null; dock run -d --name idle busybox sleep 60").ok();
    let table = yard.sh("dock stats --no-stream").ok();
    let heading: Vec<_> = table.lines().next().unwrap().split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
    assert_eq!(
        heading,
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    );
    assert!(table.lines().any(|line| line.contains("busy") && line.contains("/ 64MiB")), "{table}");
    let script = "dock stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.PIDs}}' busy idle";
    let lines = yard.sh(script).ok();
    let percent = |at: usize| {
        lines.lines().nth(at).unwrap().split(' ').nth(1).unwrap().trim_end_matches('%').parse::<f64>().unwrap()
    };
    assert!(percent(0) > percent(1) && percent(1) < 5.0, "{lines}");
    assert!(lines.lines().all(|line| line.ends_with(" 1")), "{lines}");
    yard.sh("dock run --name ended busybox true").ok();
    let names = |all: &str| {
        yard.sh(&format!("dock stats {all} --no-stream --format '{{{{.Name}}}}' | sort | tr '\n' ' '")).ok()
    };
    assert_eq!((names(""), names("-a")), ("busy idle ".into(), "busy ended idle ".into()));
    // Docker's columns of one that does not run; Container is what was asked for.
    let script =
        "dock stats --no-stream --format '{{.Container}} {{.CPUPerc}} {{.MemUsage}} {{.NetIO}} {{.PIDs}}' ended";
    assert_eq!(yard.sh(script).ok(), "ended 0.00% 0B / 0B 0B / 0B 0");
    yard.sh("dock stats --no-stream none").fails(1, "No such container: none");
}
