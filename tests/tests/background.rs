//! Containers in the background: started, seen, stopped, brought back, removed, and found right after a kill.

use dock_tests::background::Yard;
use dock_tests::{Room, needs};
use std::fs;

const FOR_EVER: &str = "sh -c 'trap \"exit 0\" TERM; echo begun; while :; do sleep 0.05; done'";

#[test]
fn who_stops_it_may_say_how() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let script = "trap \"exit 7\" USR1; trap \"\" TERM; echo begun; while :; do sleep 0.05; done";
    yard.sh(&format!("dock run -d --name web busybox sh -c '{script}'")).ok();
    yard.until("dock logs web", "begun");
    yard.sh("dock stop -s NOSUCH web").fails(1, "Error response from daemon: Invalid signal: NOSUCH");
    assert_eq!(yard.member("web", "status"), "running");
    assert_eq!(yard.sh("dock stop -s USR1 web; dock wait web").ok(), "web\n7");
    yard.sh("dock start web").ok();
    yard.until("dock logs web | grep -c begun", "2");
    // TERM would take the ten seconds and end in a KILL, and nobody waits for less than the whole of a restart.
    assert_eq!(yard.sh("dock restart --signal=SIGUSR1 --timeout 60 web; dock events --since 1h --until 0s --filter event=die --format '{{.Actor.Attributes.exitCode}}' | tail -1").ok(), "web\n7");
    yard.sh("dock rm -f web").ok();
}

#[test]
fn a_life_in_the_background() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let id = yard.sh(&format!("dock run -d --name web busybox {FOR_EVER} | cat")).ok();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert!(yard.sh("dock ps").ok().contains(" Up "));
    yard.until("dock logs web", "begun");
    assert_eq!(yard.sh("dock stop web").ok(), "web");
    assert!(yard.sh("dock ps -a").ok().contains(" Exited (0) "));
    assert_eq!(yard.sh(&format!("dock wait web {id}")).ok(), "0\n0");
    assert_eq!(yard.sh("dock stop web && dock start web && dock start web").ok(), "web\nweb\nweb", "twice is no error");
    assert_eq!(yard.member("web", "status"), "running");
    yard.until("dock logs web | grep -c begun", "2");
    assert_eq!(yard.sh("dock kill -s TERM web; dock wait web").ok(), "web\n0");
    assert!(yard.sh("dock start web && dock kill web && dock wait web").ok().ends_with("\n137"));
    yard.sh("dock kill web").fails(1, &format!("Cannot kill container: web: Container {id} is not running"));
    assert_eq!(yard.sh("dock restart -t 1 web && dock ps -q --no-trunc").ok(), format!("web\n{id}"));
    assert_eq!(yard.sh("dock rm -f web && dock ps -aq").ok(), "web");
    let lives = yard
        .sh(&format!(
            "dock run -d --rm --name once busybox {FOR_EVER}; dock restart -t 0 once && dock ps -q --no-trunc"
        ))
        .ok();
    let lives: Vec<&str> = lives.lines().collect();
    assert_eq!(lives, [lives[0], "once", lives[0]], "a restart is no end");
    assert_eq!(yard.sh("dock stop -t 0 once && dock ps -aq").ok(), "once", "a stop is");
    yard.until("ls run/containers root/containers; echo .", "run/containers:\n.");
    assert!(!yard.room.path("run/containers").join(&id).exists());
}

#[test]
fn what_stays_is_one_small_process_that_holds_nothing_of_ours() {
    needs!(root, "busybox");
    let yard = Yard::new();
    // A descriptor of the caller's, and its working directory and terminal, would live as long as the container.
    yard.sh("exec 7>held; dock run -d --name web busybox sleep 60 >/dev/null").ok();
    let keeper = yard.keeper("web");
    let proc = format!("/proc/{}", keeper["pid"]);
    assert_eq!(fs::read_link(format!("{proc}/cwd")).unwrap().to_str(), Some("/"));
    for entry in fs::read_dir(format!("{proc}/fd")).unwrap().flatten() {
        let to = fs::read_link(entry.path()).unwrap();
        let to = to.to_str().unwrap();
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        assert!(number > 2 || to == "/dev/null", "{number} -> {to}");
        assert!(!to.contains("held") && !to.contains("stdout"), "{number} -> {to}");
    }
    let stat = fs::read_to_string(format!("{proc}/stat")).unwrap();
    let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    assert_eq!((fields[3], fields[4]), (keeper["pid"].to_string().as_str(), "0"), "its own session, no terminal");
}

#[test]
fn a_start_that_fails_says_so_with_its_code() {
    needs!(root, "busybox");
    let yard = Yard::new();
    for (command, code) in [("nothing-of-that-name", 127), ("/etc", 126)] {
        let ran = yard.sh(&format!("dock run -d --name xx busybox {command}"));
        assert_eq!((ran.code, ran.stdout.len()), (code, 65), "docker says which one it was: {ran:#?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
        assert_eq!(yard.sh("dock rm xx").ok(), "xx");
    }
    yard.sh("dock run -d --rm --name yy busybox nothing").fails(127, "nothing: not found in the container's PATH");
    yard.sh("dock create --name zz busybox sleep 60 >/dev/null; dock start zz").ok();
    let bundle = yard.member("zz", "bundle");
    yard.sh(&format!("ctr-spawn -d {bundle}")).fails(125, "the container is running");
    yard.sh("img-unpack --flat busybox plain >/dev/null; ctr-spawn -d plain").fails(125, "no container of the store");
    assert_eq!(yard.sh("dock ps -aq").ok().lines().count(), 1, "--rm leaves nothing");
}

#[test]
fn what_has_ended_is_brought_back_as_its_policy_says() {
    needs!(root, "busybox");
    let yard = Yard::new();
    // Each life adds a letter to a file: the container's files stay.
    let count = "sh -c 'echo -n x >>/lives; [ $(wc -c </lives) -ge 9 ] && exit 0; exit 3'";
    yard.sh(&format!("dock run -d --restart on-failure:2 --name twice busybox {count}")).ok();
    assert_eq!(yard.sh("dock wait twice").ok(), "3");
    let ran = yard.sh("dock wait nobody twice").fails(1, "Error response from daemon: No such container: nobody");
    assert_eq!(ran.stdout, "3\n", "one that is not there does not keep the others");
    let lives = |name: &str| fs::read_to_string(yard.member(name, "bundle") + "/upper/lives").unwrap();
    assert_eq!(lives("twice"), "xxx", "once, and two more times");
    let exit = fs::read_to_string(yard.member("twice", "bundle") + "/exit.json").unwrap();
    assert!(exit.contains("\"restartCount\": 2"), "{exit}");

    // Who looks on leaves with the first end, as with docker.
    let look = "busybox sh -c 'echo life; exit 3'";
    let ran = yard.sh(&format!("dock run --restart on-failure:3 --name seen {look}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "life\n"), "{ran:#?}");
    yard.sh("dock stop -t 0 seen; dock update --restart always seen").ok();
    let ran = yard.sh("timeout 60 dock start -a seen; echo $?; dock rm -f seen");
    assert_eq!(ran.stdout, "life\n3\nseen\n", "{ran:#?}");
    yard.sh("dock run -d --restart always --name always busybox sh -c 'echo -n x >>/lives'").ok();
    // Now it runs, now it waits for its next life.
    yard.until("dock ps", "Restarting (0) ");
    yard.until("ctr-ls always", "\"status\":\"restarting\"");
    yard.until("dock rm always 2>&1", "container is restarting: stop the container before removing or force remove");
    // A stop in the pause is the last word, too: no life comes behind it. Before it one may.
    let ends_in_the_pause = |_| {
        yard.until("ctr-ls always", "\"status\":\"restarting\"");
        let before = lives("always");
        assert_eq!(yard.sh("dock stop always").ok(), "always");
        assert_eq!(yard.member("always", "status"), "exited");
        let same = lives("always") == before;
        yard.sh("dock start always").ok();
        same
    };
    assert!((0..10).any(ends_in_the_pause));
    yard.until("dock ps", "Restarting (0) ");
    assert_eq!(yard.sh("dock rm -f always && dock ps -q").ok(), "always");

    yard.sh(&format!("dock run -d --restart unless-stopped --name kept busybox {FOR_EVER}")).ok();
    yard.until("dock logs kept", "begun");
    assert_eq!(yard.sh("dock kill kept && dock wait kept").ok(), "kept\n137", "a person's kill is obeyed");
    for (words, message) in [
        ("--restart sometimes", "invalid restart policy 'sometimes'"),
        ("--restart always --rm", "cannot specify both --restart and --rm"),
        ("--log-opt max-size=0", "invalid size: '0'"),
        ("--log-driver syslog", "error looking up logging plugin syslog: plugin \"syslog\" not found"),
        ("--stop-signal NONE", "Invalid signal: NONE"),
    ] {
        yard.sh(&format!("dock run -d {words} busybox true")).fails(125, message);
    }
}

#[test]
fn a_killed_keeper_leaves_a_state_that_does_not_lie() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d --name aa busybox sleep 60; dock run -d --rm --name bb busybox sleep 60").ok();
    let wait = "dock wait aa & kill -9 KEEPER; wait".replace("KEEPER", &yard.keeper("aa")["pid"].to_string());
    assert_eq!(yard.sh(&wait).ok(), "255", "nobody has seen how it ended");
    yard.until("dock ps -a", "Exited (255)");
    assert_eq!(yard.sh("dock start aa; dock ps --filter name=aa --format json").ok().lines().count(), 2);
    assert_eq!(yard.sh("dock stop -t 0 aa && dock rm aa").ok(), "aa\naa");
    // One that was to go with its end is gone with the next look.
    yard.sh(&format!("kill -9 {}", yard.keeper("bb")["pid"])).ok();
    yard.until("dock ps -aq; echo =", "=\n");
    yard.until("dock ps -a; ls root/containers; echo .", "NAMES\n.");
}

#[test]
fn with_rm_it_goes_when_it_has_ended() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let script = "dock run -d --rm --name short -v /anonymous -v $PWD/go:/go busybox sh -c 'until [ -e /go/on ]; do sleep 0.02; done; exit 5' >/dev/null; ls root/volumes | wc -l
        ctr-wait short & pid=$!; n=0; until ls -l /proc/$pid/fd | grep -q /lock || [ $n -gt 3000 ]; do sleep 0.02; n=$((n+1)); done
        touch go/on; wait $pid; echo $?";
    yard.sh("mkdir go").ok();
    assert_eq!(yard.sh(script).ok(), "1\n5\n0", "the code outlives the container");
    yard.until("dock ps -aq; ls root/containers root/volumes; echo .", "root/containers:\n\nroot/volumes:\n.");
}

#[test]
fn twenty_at_once() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("for n in $(seq 20); do dock run -d --name cc$n busybox sleep 60 >/dev/null & done; wait").ok();
    assert_eq!(yard.sh("dock ps -q").ok().lines().count(), 20);
    assert_eq!(yard.sh("dock stop -t 0 $(dock ps -q) | wc -l").ok(), "20");
    assert_eq!(yard.sh("dock ps -a --filter exited=137 -q").ok().lines().count(), 20);
    assert_eq!(yard.sh("dock rm $(dock ps -aq) | wc -l; dock ps -aq").ok(), "20");
    yard.until_alone();
}

#[test]
fn health_is_probed_and_shown() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let often = "--health-interval 100ms --health-retries 2 --health-timeout 60s --health-start-period 1h";
    let probe = "echo fine; test -e /up && test ! -e /ill";
    yard.sh(&format!("dock run -d --name well --health-cmd '{probe}' {often} busybox sleep 600")).ok();
    assert!(yard.sh("dock ps").ok().contains(" (health: starting) "));
    yard.sh("dock exec well sh -c 'echo >/up'").ok();
    yard.until("dock ps", " (healthy) ");
    yard.sh("dock exec well sh -c 'echo >/ill'").ok();
    yard.until("dock ps", " (unhealthy) ");
    let keeper = yard.keeper("well");
    let log = keeper["health"]["Log"].as_array().unwrap();
    assert!(log.len() <= 5 && keeper["health"]["FailingStreak"].as_u64() >= Some(2), "{keeper:#}");
    assert_eq!((&log[log.len() - 1]["ExitCode"], &log[log.len() - 1]["Output"]), (&1.into(), &"fine\n".into()));
    // A probe that hangs is killed, with what it has started.
    yard.sh("dock run -d --name slow --health-cmd 'sleep 77' --health-interval 50ms --health-timeout 100ms --health-retries 1 busybox sleep 60").ok();
    yard.until("dock ps --filter name=slow", " (unhealthy) ");
    assert!(
        yard.keeper("slow")["health"]["Log"][0]["Output"]
            .as_str()
            .unwrap()
            .starts_with("Health check exceeded timeout (0.1s)")
    );
    yard.sh("dock run -d --name none --no-healthcheck busybox sleep 60").ok();
    assert!(yard.keeper("none").get("health").is_none());
    yard.sh("dock run -d --no-healthcheck --health-cmd true busybox true")
        .fails(125, "--no-healthcheck conflicts with --health-* options");
}

#[test]
fn a_paused_container_stands_still_and_can_be_ended() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let count = "sh -c 'while :; do echo x; sleep 0.02; done & while :; do echo y; sleep 0.02; done'";
    let probe = "--health-cmd true --health-interval 50ms --health-retries 3 --health-start-interval 50ms";
    let id = yard.sh(&format!("dock run -d {probe} --name web busybox {count}")).ok();
    yard.until("dock logs web", "y");
    yard.until("dock ps", "(healthy)");
    assert_eq!(yard.sh("dock pause web").ok(), "web");
    assert!(yard.sh("dock ps").ok().contains(" (Paused) "));
    // What they had written before still lies in pipes, for whoever keeps the log; then nothing comes any more.
    yard.until("a=$(dock logs web | wc -l); sleep 0.3; [ $a = $(dock logs web | wc -l) ] && echo still", "still");
    let before = yard.sh("dock logs web | wc -l").ok();
    assert_eq!(yard.keeper("web")["health"]["Status"], "healthy", "nobody asks it meanwhile");
    yard.sh("dock pause web").fails(1, &format!("Container {id} is already paused"));
    yard.sh("dock rm web").fails(1, "container is paused");
    yard.sh("dock attach web").fails(1, "You cannot attach to a paused container, unpause it first");
    assert_eq!(yard.sh("dock unpause web; dock ps --filter status=paused -q").ok(), "web");
    yard.until("dock logs web | wc -l | grep -vx BEFORE && echo more".replace("BEFORE", &before).as_str(), "more");
    yard.sh("dock unpause web").fails(1, &format!("Container {id} is not paused"));
    assert_eq!(yard.sh("dock pause web; dock stop -t 1 web; dock wait web").ok(), "web\nweb\n137", "the stop wakes it");
    yard.sh("dock pause web").fails(1, &format!("Container {id} is not running"));
    assert_eq!(yard.sh("dock start web; dock pause web; dock kill web; dock wait web").ok(), "web\nweb\nweb\n137");
    assert_eq!(yard.sh("dock start web; dock pause web; dock rm -f web").ok(), "web\nweb\nweb");
    yard.sh(&format!("! ls -d /sys/fs/cgroup/freezer/dock/{id} /sys/fs/cgroup/dock/{id} 2>/dev/null")).ok();
    // Also with a cgroup of its own, for its limits.
    yard.sh(
        "dock run -d -m 64m --name less busybox sleep 60 && dock pause less && dock unpause less && dock rm -f less",
    )
    .ok();
}

/// A process that has ended and that nobody reaps cannot be frozen, and need not be.
#[test]
fn a_zombie_does_not_hold_up_a_pause() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d --name web busybox sh -c 'sleep 0 & exec sleep 600'").ok();
    yard.until("dock exec web sh -c 'cat /proc/[0-9]*/stat'", "(sleep) Z ");
    assert_eq!(
        yard.sh("timeout 60 dock pause web && dock ps --format '{{.Status}}' && dock rm -f web").ok().lines().count(),
        3
    );
}

/// Nobody could wake a container that stands still without a note of it, nor remove it.
#[test]
fn a_pause_that_is_killed_midway_can_be_undone() {
    needs!(root, "busybox", "strace");
    let yard = Yard::new();
    let id = yard.sh("dock run -d --name web busybox sleep 600").ok();
    let line = format!("{} ctr-kill --pause web; cat trace", tampered_freezer(&id, "signal=KILL"));
    let trace = yard.sh(&line).stdout;
    assert!(trace.contains("killed by SIGKILL"), "{trace}");
    let status = yard.sh("dock ps --format '{{.Status}}'").ok();
    assert!(status.contains("(Paused)"), "{status}");
    yard.sh("dock unpause web && dock exec web true && dock pause web && dock rm -f web").ok();
}

/// The same when somebody else lets it go on in the midst of it.
#[test]
fn who_pauses_and_who_unpauses_take_turns() {
    needs!(root, "busybox", "strace");
    let yard = Yard::new();
    let id = yard.sh("dock run -d --name web busybox sleep 600").ok();
    let slowly = tampered_freezer(&id, "delay_enter=300000");
    let script = format!(
        "{slowly} ctr-kill --pause web & until [ -e run/containers/*/paused ]; do sleep 0.01; done; dock unpause web; wait; cat trace"
    );
    assert!(yard.sh(&script).ok().contains("(DELAYED)"));
    // Output to nowhere: who enters a frozen container would hold the pipe for ever.
    assert_eq!(yard.sh("dock ps --filter status=paused -q; timeout 20 dock exec web true >over 2>&1").ok(), "");
}

/// A line of strace(1) that does something to each write to the freezer of a container.
fn tampered_freezer(id: &str, what: &str) -> String {
    let group = |tree: &str, file: &str| format!("-P /sys/fs/cgroup/{tree}dock/{}/{file}", id.trim());
    let files = [group("freezer/", "freezer.state"), group("unified/", "cgroup.freeze"), group("", "cgroup.freeze")];
    format!("strace -qq -o trace {} -e trace=write -e inject=write:{what}", files.join(" "))
}

#[test]
fn after_a_boot_come_those_whose_policy_says_so() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let run = |name: &str, policy: &str| {
        yard.sh(&format!("dock run -d --name {name} --restart {policy} busybox sleep 60")).ok()
    };
    let (one, two) = (run("one", "always"), run("two", "unless-stopped"));
    run("three", "unless-stopped");
    run("four", "on-failure");
    yard.sh("dock stop -t 0 one three").ok();
    // What a machine that loses its power leaves: nobody ends as he should, and the run directory is empty.
    yard.sh("for k in run/containers/*/keeper.json; do kill -9 $(sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p' $k); done")
        .ok();
    yard.until("dock ps -q; echo =", "=\n");
    yard.until("[ -z \"$(dock ps -q)\" ] && rm -rf run && echo off", "off");
    let mut started: Vec<_> = yard.sh("dock boot").ok().lines().map(str::to_owned).collect();
    started.sort();
    let mut want = [one, two];
    want.sort();
    assert_eq!(started, want, "not the one that was stopped, and not those without such a policy");
    assert_eq!(yard.sh("dock boot; dock ps -q | wc -l").ok(), "2");
    let unit = yard.sh("dock boot --unit").ok();
    assert!(
        unit.contains("\nExecStart=/") && unit.contains("/dock boot\n") && unit.contains("WantedBy=multi-user.target")
    );
    // A user's own manager has neither that target nor the network's.
    let unit = Room::of_user(1234).sh("dock boot --unit").ok();
    assert!(unit.contains("WantedBy=default.target") && !unit.contains("network-online"), "{unit}");
}

#[test]
fn prune_removes_those_that_do_not_run() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let id = yard.sh("dock create --name made busybox true").ok();
    yard.sh("dock run --name done busybox true; dock run -d --name busy busybox sleep 60").ok();
    assert_eq!(yard.sh("echo n | dock container prune | grep -c WARNING; dock ps -aq | wc -l").ok(), "1\n3");
    let pruned = yard.sh("dock container prune -f").ok();
    assert!(pruned.starts_with("Deleted Containers:\n") && pruned.contains(&id), "{pruned}");
    assert!(pruned.ends_with("\n\nTotal reclaimed space: 0B"), "{pruned}");
    let again = yard.sh("dock ps -a --format '{{.Names}}'; dock container prune -f").ok();
    assert_eq!(again, "busy\nTotal reclaimed space: 0B");
    yard.sh(
        "dock create --name kept --label keep busybox; dock run --name big busybox sh -c 'head -c 5000 /dev/zero >/f'",
    )
    .ok();
    let filters = [("until=1h", "0B"), ("until=2020-01-01T00:00:00Z", "0B"), ("label=x", "0B"), ("label!=keep", "5kB")];
    for (filter, freed) in filters {
        let pruned = yard.sh(&format!("dock container prune -f --filter '{filter}'")).ok();
        assert!(pruned.ends_with(&format!("Total reclaimed space: {freed}")), "{filter}: {pruned}");
    }
    assert_eq!(yard.sh("dock ps -a --format '{{.Names}}'").ok(), "kept\nbusy");
    yard.sh("dock container prune -f --filter bad=1").fails(1, "Error response from daemon: Invalid filter 'bad'");
}
