//! What is changed after a container was made, and the first process that one can ask for: rename, update, --init;
//! what the commands say that have nothing to change.

use dock_tests::background::Yard;
use dock_tests::image::{dock, image};
use dock_tests::{Room, needs};
use serde_json::Value;

fn room() -> Room {
    let room = Room::new();
    image(&room, "", "-t img -c 'CMD [\"/bin/sh\"]'");
    room
}

/// Ends what a test started in the background, also when it fails.
struct Ends<'a>(&'a Room);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        dock(self.0, "dock rm -f $(dock ps -aq) >/dev/null 2>&1");
    }
}

#[test]
fn a_new_name_and_nothing_else() {
    needs!(root, "busybox");
    let room = room();
    dock(
        &room,
        "dock create --name one --add-host db:1.2.3.4 -v /anon -e A=1 img cat /etc/hosts; dock create --name two img",
    )
    .ok();
    let before: Value = serde_json::from_str(&dock(&room, "dock inspect one").ok()).unwrap();
    dock(&room, "dock rename one three").ok();
    let mut after: Value = serde_json::from_str(&dock(&room, "dock inspect three").ok()).unwrap();
    assert_eq!(after[0]["Name"], "/three");
    after[0]["Name"] = "/one".into();
    assert_eq!(after, before);
    assert!(dock(&room, "dock start -a three").ok().contains("1.2.3.4\tdb"), "its files are what they were");
    for (line, words) in [
        (
            "three two",
            "Error response from daemon: Error when allocating new name: Conflict. The container name \"/two\" is already in use by container \"",
        ),
        ("nobody four", "Error response from daemon: No such container: nobody\n"),
        ("two ''", "Error: Neither old nor new names may be empty\n"),
        ("two two", "Error response from daemon: Renaming a container with the same name as its current name\n"),
        (
            "two 'a b'",
            "Error response from daemon: Error when allocating new name: Invalid container name (/a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed\n",
        ),
    ] {
        let ran = dock(&room, &format!("dock rename {line}"));
        assert!(ran.code == 1 && ran.stderr.starts_with(words), "{line}: {ran:#?}");
    }
    assert_eq!(dock(&room, "dock ps -a --format '{{.Names}}'").ok(), "two\nthree");
}

#[test]
fn limits_of_a_container_that_runs_hold_at_once() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    dock(&room, "dock run -d --name runs -m 64m --pids-limit 50 img sleep 60 >/dev/null && dock create --name sleeps img >/dev/null").ok();
    assert_eq!(dock(&room, "dock update -m 96m --memory-swap 192m --pids-limit 60 runs sleeps").ok(), "runs\nsleeps");
    for name in ["runs", "sleeps"] {
        let got = dock(
            &room,
            &format!(
                "dock inspect -f '{{{{.HostConfig.Memory}}}} {{{{.HostConfig.MemorySwap}}}} {{{{.HostConfig.PidsLimit}}}}' {name}"
            ),
        );
        assert_eq!(got.ok(), "100663296 201326592 60");
    }
    // The kernel's own word, wherever its files are.
    let file = "pid=$(dock inspect -f '{{.State.Pid}}' runs); for t in memory pids; do \
        d=$(sed -n \"s,^[0-9]*:\\($t\\)\\?:,,p\" /proc/$pid/cgroup | head -1); \
        cat /sys/fs/cgroup/$t$d/$t.limit_in_bytes /sys/fs/cgroup/$t$d/$t.max /sys/fs/cgroup$d/$t.max 2>/dev/null | head -1; done";
    assert_eq!(dock(&room, file).ok(), "100663296\n60");
    dock(&room, "dock update --restart unless-stopped sleeps").ok();
    assert_eq!(dock(&room, "dock inspect -f '{{.HostConfig.RestartPolicy.Name}}' sleeps").ok(), "unless-stopped");
    for (line, words) in [
        ("sleeps", "you must provide one or more flags when using this command\n"),
        ("-m 1m sleeps", "Minimum memory limit allowed is 6MB\n"),
        ("-m 7m nobody", "Error response from daemon: No such container: nobody\n"),
    ] {
        let ran = dock(&room, &format!("dock update {line}"));
        assert!(ran.code == 1 && ran.stderr.ends_with(words), "{line}: {ran:#?}");
    }
    assert_eq!(dock(&room, "dock inspect -f '{{.HostConfig.Memory}}' sleeps").ok(), "100663296", "and changes nothing");
}

/// What the kernel refuses is not written down either: the container would not start any more.
#[test]
fn an_update_that_fails_changes_nothing() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    let id = dock(&room, "dock run -d --name web -m 64m --pids-limit 50 img sleep 60").ok();
    let written = "dock inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}' web";
    assert_eq!(dock(&room, written).ok(), "67108864 134217728 50");
    // More than the kernel can count; docker's words for the other.
    for (options, words) in [
        ("--pids-limit 5000000", "pids.max\", \"5000000\"): Invalid argument"),
        (
            "-m 200m",
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
    ] {
        let ran = dock(&room, &format!("dock update {options} web"));
        let start = format!("Error response from daemon: Cannot update container {id}: ");
        assert!(ran.code == 1 && ran.stderr.starts_with(&start) && ran.stderr.contains(words), "{ran:#?}");
        assert_eq!(dock(&room, written).ok(), "67108864 134217728 50", "{options}");
    }
    assert_eq!(room.sh("ls root/containers/*/ | grep before").stdout, "");
    dock(&room, "dock restart -t 0 web && dock update -m 32m web").ok();
    assert_eq!(dock(&room, written).ok(), "33554432 134217728 50", "swap stays as it was");
}

/// Whichever of its files the kernel has; one that it has not is said.
#[test]
fn the_weight_of_block_devices_reaches_a_container_that_runs() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    dock(&room, "dock run -d --name none img sleep 60").ok();
    let ran = dock(&room, "dock update --blkio-weight 300 none");
    let files = files_of(&room, "none", "blkio.bfq.weight blkio.weight io.bfq.weight io.weight");
    let holds = files.lines().any(|line| ["300", "default 300", "default 2930"].contains(&line));
    assert!(if ran.code == 0 { holds } else { ran.stderr.contains("weight") }, "{ran:#?} {files}");
}

/// The kernel's own files of a container's cgroup, wherever they are.
fn files_of(room: &Room, name: &str, files: &str) -> String {
    let script = format!(
        "pid=$(dock inspect -f '{{{{.State.Pid}}}}' {name}); for file in {files}; do t=${{file%%.*}}; \
        d=$(sed -n \"s/^[0-9]*:\\([a-z,]*,\\)\\?$t\\(,[a-z,]*\\)\\?:\\|^0:://p\" /proc/$pid/cgroup | head -1); \
        cat /sys/fs/cgroup/$t$d/$file /sys/fs/cgroup$d/$file 2>/dev/null | head -1; done"
    );
    dock(room, &script).ok()
}

/// A container that started without a limit gets its cgroups at the update, with everybody in them; they go with it.
#[test]
fn limits_of_a_kind_that_a_container_did_not_start_with() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    let id = dock(&room, "dock run -d --name none img sh -c 'sleep 60 & exec tail -f /dev/null'").ok();
    let there = format!("find /sys/fs/cgroup -type d -name {id}");
    assert_eq!(room.sh(&there).ok(), "");
    dock(&room, "dock update -m 64m --memory-swap 64m --cpus 0.5 --pids-limit 40 --cpuset-cpus 0 none").ok();
    let one = |v1: &str, v2: &str| {
        let found = files_of(&room, "none", &format!("{v1} {v2}"));
        found.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(one("memory.limit_in_bytes", "memory.max"), "67108864");
    assert!(["50000", "50000 100000"].contains(&one("cpu.cfs_quota_us", "cpu.max").as_str()));
    assert_eq!((one("pids.max", "pids.max"), one("cpuset.cpus", "cpuset.cpus")), ("40".into(), "0".into()));
    let members = format!("for group in $({there}); do wc -l <$group/cgroup.procs; done | sort -u");
    assert_eq!(room.sh(&members).ok(), "2", "every process is in every one");
    assert_eq!(
        dock(&room, "dock exec none cat /proc/self/status | grep Cpus_allowed_list").ok(),
        "Cpus_allowed_list:\t0"
    );
    // It counts: what takes more is killed, and that is said.
    let eats = "head -c 100m /dev/zero | tail -c 90m >/dev/null";
    assert_ne!(dock(&room, &format!("dock exec none sh -c '{eats}; kill -9 $$'")).code, 0);
    dock(&room, "dock kill none && dock wait none").ok();
    assert_eq!(dock(&room, "dock inspect -f '{{.State.OOMKilled}}' none").ok(), "true");
    assert_eq!(room.sh(&there).ok(), "", "they go with the container");
    // The next start has them from the first instruction on, and an update of a paused one waits for nothing.
    dock(&room, "dock start none && dock pause none && dock update -m 70m --memory-swap 70m none && dock unpause none")
        .ok();
    assert_eq!(one("memory.limit_in_bytes", "memory.max"), (70 << 20).to_string());
    dock(&room, "dock rm -f none").ok();
    assert_eq!(room.sh(&there).ok(), "");
}

#[test]
fn a_first_process_that_reaps_and_passes_signals_on() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    // An orphan of an orphan ends: without a first process that waits it would be a zombie.
    let orphans = "sh -c '(sh -c \"sleep 0.1 & echo \\$! >/p\" &); until [ -s /p ]; do sleep 0.02; done
        for i in $(busybox seq 1000); do [ -e /proc/$(cat /p) ] || break; sleep 0.05; done; ls -d /proc/$(cat /p) 2>/dev/null; cat /proc/1/comm; exit 7'";
    let ran = dock(&room, &format!("dock run --rm --init img {orphans}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "docker-init\n"), "{ran:#?}");
    // SIGTERM ends a program that has no handler: as the first process it would not hear it.
    dock(&room, "dock run -d --name dumb --init img sleep 60 >/dev/null && dock stop dumb").ok();
    assert_eq!(
        dock(&room, "dock inspect -f '{{.State.ExitCode}} {{.HostConfig.Init}} {{.Path}} {{.Args}}' dumb").ok(),
        "143 true sleep [60]"
    );
    for (command, code) in [("nope", 127), ("/etc/passwd", 126), ("sh -c 'kill -9 $$'", 137)] {
        let ran = dock(&room, &format!("dock run --rm --init img {command}"));
        assert_eq!(ran.code, code, "{ran:#?}");
    }
    // Nothing of the host can be written through it.
    let ran = dock(&room, "dock run --rm --init img sh -c 'echo x >/sbin/docker-init'");
    assert!(ran.code != 0 && room.sh("ctr-init --version").code == 0, "{ran:#?}");
}

#[test]
fn port_and_info() {
    needs!(root, "busybox");
    let room = room();
    dock(&room, "dock create --name one img").ok();
    assert_eq!(dock(&room, "dock port one").ok(), "");
    let ran = dock(&room, "dock port one 80");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "Error: No public port '80/tcp' published for one\n"));
    assert_ne!(dock(&room, "dock port nobody").code, 0);
    let info = dock(&room, "dock info").ok();
    for line in
        [" Containers: 1", "  Running: 0", "  Stopped: 1", " Images: 1", " OSType: linux", " Storage Driver: overlay2"]
    {
        assert!(info.lines().any(|have| have == line), "no {line:?} in {info}");
    }
    let root = room.path("root").display().to_string();
    let asked = dock(
        &room,
        "dock info -f '{{.Containers}} {{.ContainersStopped}} {{.DockerRootDir}}'; dock version -f '{{.Server.Os}}'",
    );
    assert_eq!(asked.ok(), format!("1 1 {root}\nlinux"));
    for (line, code) in [("info -f '{{'", 64), ("version -f '{{'", 64), ("info -f '{{.Nope}}'", 1), ("version x", 1)] {
        assert_eq!(dock(&room, &format!("dock {line}")).code, code, "{line}");
    }
}

/// Who is killed while making a container or a volume leaves a directory without a name. One that is an hour old is
/// nobody's any more; what runs or is gone by the time of a prune is none of its business.
#[test]
fn prune_removes_what_was_never_finished() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let [left, begun] = ["a0", "b0"].map(|digits| digits.repeat(32));
    let id = yard.sh("dock run -d --name runs busybox sleep 600").ok();
    yard.sh(&format!("mkdir -p root/containers/{left}/upper root/containers/{begun}/upper run/containers/{left} root/volumes/.new-0/_data
        touch -d '2 hours ago' root/containers/{left}; dock system prune -f --volumes")).ok();
    let all = yard.sh("ls root/containers run/containers; ls -A root/volumes").ok();
    let mut both = [id.as_str(), &begun];
    both.sort_unstable();
    assert_eq!(all, format!("root/containers:\n{}\n\nrun/containers:\n{id}\n.lock", both.join("\n")));
    let ran = yard.sh(&format!("ctr-rm --prune runs nobody && ctr-rm {begun} && ctr-ls --quiet --no-trunc"));
    assert_eq!((ran.stdout, ran.stderr), (format!("{begun}\n{id}\n"), String::new()));
}

#[test]
fn system_df_and_prune() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    dock(&room, "dock run -d --name runs -v used:/u img sleep 60 >/dev/null; dock create --name idle -v /anon img")
        .ok();
    dock(&room, "dock volume create; dock volume create kept").ok();
    let table = dock(&room, "dock system df").ok();
    let starts = |line: usize, words: &[&str]| {
        let have: Vec<&str> = table.lines().nth(line).unwrap_or_default().split_whitespace().collect();
        assert!(have.starts_with(words), "{words:?} in {table}");
    };
    starts(0, &["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    starts(1, &["Images", "1", "1"]);
    // What they have written, and not the directories that they would write to.
    starts(2, &["Containers", "2", "1", "0B", "0B"]);
    starts(3, &["Local", "Volumes", "4", "2"]);
    let asked = dock(&room, "dock system prune </dev/null").ok();
    assert!(
        asked.starts_with("WARNING! This will remove:\n  - all stopped containers\n  - all dangling images\n  - all dangling build cache\n\n"),
        "{asked}"
    );
    assert_eq!(dock(&room, "dock ps -aq | wc -l").ok(), "2", "nothing without an answer");
    for filter in ["until=1h", "label=x", "until=x", "x=y"] {
        dock(&room, &format!("dock system prune -f --filter {filter}"));
        assert_eq!(dock(&room, "dock ps -aq | wc -l").ok(), "2", "none that the filter does not mean: {filter}");
    }
    let pruned = dock(&room, "dock system prune -f").ok();
    assert!(pruned.starts_with("Deleted Containers:\n"), "{pruned}");
    assert_eq!(dock(&room, "dock ps -a --format '{{.Names}}'; dock volume ls -q | wc -l").ok(), "runs\n4");
    dock(&room, "dock system prune -f --volumes --filter label=x").ok();
    assert_eq!(dock(&room, "dock volume ls -q | wc -l").ok(), "4", "nor a volume");
    dock(&room, "dock system prune -f --volumes").ok();
    assert_eq!(dock(&room, "dock volume ls -q").ok(), "kept\nused", "anonymous ones that nobody uses");
    assert_eq!(dock(&room, "dock images -q | wc -l").ok(), "1");
    room.sh("mkdir ctx && head -c 300000 /dev/urandom >ctx/f && printf 'FROM scratch\\nCOPY f /\\nLABEL a=b\\n' >ctx/Dockerfile").ok();
    dock(&room, "dock build -q ctx && dock create --name gone -v /v img && dock rm -f gone").ok();
    let shown = dock(&room, "dock -n system prune -af --volumes | grep prune").ok();
    assert_eq!(shown, "ctr-rm --prune\nctr-vol --prune\nimg-rm --prune --all\ndfile-cache --prune --all", "one by one");
    let pruned = dock(&room, "dock system prune -af 2>&1").ok();
    assert!(
        pruned.contains("Deleted Images:\ndeleted: sha256:")
            && pruned.contains("\n\nDeleted build cache objects:\nbuild-"),
        "{pruned}"
    );
    let total = pruned.lines().filter(|line| line.starts_with("Total")).collect::<Vec<_>>();
    let bytes =
        total[0].strip_prefix("Total reclaimed space: ").and_then(|size| size.strip_suffix("kB")?.parse::<f64>().ok());
    assert!(total.len() == 1 && bytes.is_some_and(|bytes| (300.0..330.0).contains(&bytes)), "{pruned}");
    assert!(pruned.ends_with(total[0]), "{pruned}");
    assert_eq!(dock(&room, "dock system prune -af").ok(), "Total reclaimed space: 0B");
}

#[test]
fn events_are_told_by_who_makes_them() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    dock(&room, "dock create --name before img && dock rm before").ok();
    assert_eq!(
        room.sh("stat -c %a run run/events.json").ok(),
        "700\n600",
        "made by the first who has something to tell"
    );
    room.sh("rm run/events.json").ok();
    // Heard from the first that comes after it has begun to listen, as a name that is made and removed shows.
    let script = "ctr-events >live & live=$!; n=0
        until [ -s live ] || [ $n -gt 600 ]; do dock create --name zero img >/dev/null; dock rm zero >/dev/null; n=$((n+1)); done
        until [ \"$(tail -n 1 live | cut -d' ' -f3)\" = destroy ] || [ $n -gt 6000 ]; do sleep 0.02; n=$((n+1)); done; wc -l <live >before
        dock run --name one -l k=v img sh -c 'exit 3'; dock rename one two; dock rm two >/dev/null
        dock create --name other img >/dev/null; n=0
        until [ $(wc -l <live) -ge $(($(cat before) + 6)) ] || [ $n -gt 3000 ]; do sleep 0.02; n=$((n+1)); done; kill $live";
    dock(&room, script);
    let words = |text: &str| -> Vec<String> {
        let told = text.lines().filter(|line| !line.contains("name=zero"));
        told.map(|line| line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let want = ["create", "start", "die", "rename", "destroy", "create"].map(|action| format!("container {action}"));
    assert_eq!(words(&room.sh("cat live").ok()), want, "as they happen");
    assert_eq!(words(&dock(&room, "dock events --since 10m --until 0s").ok()), want, "and afterwards");
    let died = dock(&room, "dock events --since 10m --until 0s -f event=die -f label=k=v -f image=img").ok();
    assert!(died.contains(" container die ") && died.ends_with(" (exitCode=3, image=img, k=v, name=one)"), "{died}");
    let ids = dock(
        &room,
        "dock events --since 10m --until 0s -f container=other --format '{{.Action}} {{.Actor.Attributes.name}}{{if .Actor.Attributes.none}}?{{end}}'",
    );
    assert_eq!(ids.ok(), "create other");
    let json = dock(&room, "dock events --since 10m --until 0s -f event=rename --format json").ok();
    let event: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&event["Type"], &event["Actor"]["Attributes"]["oldName"]), (&"container".into(), &"/one".into()));
    room.sh("ctr-events --since yesterday").fails(1, "failed to parse value as time or duration: \"yesterday\"");
    room.sh("ctr-events --until 0s --filter colour=red").fails(1, "invalid filter 'colour'");
    // Bounded: the file makes place for a new one.
    room.sh("head -c 1100000 /dev/zero | tr '\\0' '\\n' >>run/events.json").ok();
    dock(&room, "dock rm other").ok();
    assert_eq!(room.sh("wc -l <run/events.json; ls run | grep -c events").ok(), "1\n2");
}

#[test]
fn commit_stops_the_container_while_it_reads() {
    needs!(root, "busybox");
    let room = room();
    let _ends = Ends(&room);
    // Two files that are written one after the other, all the time: in no image may the first be ahead by two.
    let writes = "i=0; while :; do i=$((i+1)); for f in b a; do echo $i >/t; busybox mv /t /$f; done; done";
    dock(&room, &format!("dock run -d --name writes img sh -c '{writes}' >/dev/null; while ! dock exec writes cat /a >/dev/null 2>&1; do sleep 0.05; done")).ok();
    let traced = dock(&room, "dock --trace commit -a me -m word -c 'CMD [\"/bin/sh\"]' writes frozen");
    let lines: Vec<&str> = traced.stderr.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!((traced.code, lines), (0, vec!["ctr-kill", "layer-diff"]), "{traced:#?}");
    assert_eq!(dock(&room, "dock inspect -f '{{.State.Status}}' writes").ok(), "running", "and lets it go on");
    let numbers = dock(&room, "dock run --rm frozen sh -c 'echo $(cat /a) $(cat /b)'").ok();
    let numbers: Vec<i64> = numbers.split(' ').map(|number| number.parse().unwrap_or(-1)).collect();
    assert!(matches!(numbers[..], [a, b] if (0..=1).contains(&(b - a))), "{numbers:?}");
    let traced = dock(&room, "dock --trace commit --pause=false writes moving");
    assert!(traced.code == 0 && !traced.stderr.contains("ctr-kill"), "{traced:#?}");
    // A failure lets it go on, too.
    assert_ne!(dock(&room, "dock commit -c 'NOSUCH x' writes bad").code, 0);
    assert_eq!(dock(&room, "dock inspect -f '{{.State.Status}}' writes").ok(), "running");
    let ran = dock(&room, "dock commit nobody");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "Error response from daemon: No such container: nobody\n"));
}
