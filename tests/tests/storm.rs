//! Whatever is killed at whatever moment: no state that lies, and nothing left that ctr-rm cannot remove.

use dock_tests::background::Yard;
use dock_tests::dice::{self, Dice};
use dock_tests::needs;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

fn cgroups() -> BTreeSet<String> {
    let listing =
        Command::new("find").args(["/sys/fs/cgroup", "-path", "*/dock/*", "-name", "[0-9a-f]*"]).output().unwrap();
    String::from_utf8(listing.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_that_lies() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let (mut dice, rounds) = (Dice::new(), dice::rounds(100));
    let bin = dock_tests::bin();
    // Cgroups are the machine's: IDs that nobody else has at this moment.
    let id = |number: u32| format!("{:015x}{number}", std::process::id()).repeat(4);
    let ids: Vec<String> = (0..8).map(id).collect();
    let fresh = |id: &str| {
        yard.sh(&format!(
        "img-unpack --overlay busybox root/containers/{id} | ctr-spec --name n{} --pids-limit 50 -- sh -c 'sleep 0.02 & sleep 0.03' >/dev/null",
        &id[14..16]
    )).ok()
    };
    ids.iter().for_each(|id| drop(fresh(id)));
    for round in 0..rounds {
        let id = &ids[usize::try_from(dice.roll(8)).unwrap()];
        let bundle = yard.room.path("root/containers").join(id);
        let detach = dice.roll(2) == 0;
        let mut command = Command::new(bin.join("ctr-spawn"));
        command.args(detach.then_some("--detach")).arg(&bundle);
        command.env("DOCK_RUN", yard.room.path("run")).env("DOCK_ROOT", yard.room.path("root"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(dice.roll(15_000)));
        match dice.roll(3) {
            // The tool in front.
            0 => drop(child.kill()),
            // Who keeps it, or the container itself.
            target => {
                let file = if target == 1 { "keeper.json" } else { "state.json" };
                let text = fs::read_to_string(yard.room.path("run/containers").join(id).join(file)).unwrap_or_default();
                let pid = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|value| value["pid"].as_i64());
                if let Some(pid) = pid.filter(|pid| *pid > 1) {
                    let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
                }
            }
        }
        let _ = child.wait();
        if round % 10 != 9 {
            continue;
        }
        // What is said to run, runs; and nothing else of ours does.
        for line in yard.sh("ctr-ls --all").ok().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let (status, pid) = (record["status"].as_str().unwrap(), record["pid"].as_i64());
            assert_eq!(status == "running", pid.is_some(), "round {round}: {record}");
        }
    }
    yard.until("dock ps -q; echo =", "=\n");
    yard.until("[ -z \"$(dock ps -q)\" ] && echo none", "none");
    let ids = ids.join(" ");
    yard.sh(&format!("ctr-rm --force {ids} >/dev/null; ls root/containers run/containers; dock ps -aq")).ok();
    assert_eq!(yard.sh("ls root/containers run/containers; dock ps -aq").ok(), "root/containers:\n\nrun/containers:");
    yard.until_alone();
    assert_eq!(yard.room.mounts(), [""; 0], "on the host nothing is ever mounted");
    // A cgroup that a killed ctr-spawn left is swept by the next one that has limits.
    let last = id(9);
    fresh(&last);
    yard.sh(&format!("ctr-spawn root/containers/{last} && ctr-rm {last}")).ok();
    let ours: Vec<_> = cgroups().into_iter().filter(|path| (0..10).any(|n| path.ends_with(&id(n)))).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn a_storm_of_makers_and_removers_on_one_name() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let script = "for n in $(seq 6); do
            (for m in 1 2 3 4; do dock run -d --name web busybox sleep 30 >>made 2>>refused; dock rm -f web >>removed 2>/dev/null; done) &
        done; wait; dock ps -aq --filter name=web | wc -l";
    let left: u32 = yard.sh(script).ok().parse().unwrap();
    assert!(left <= 1, "a name has one bearer");
    let count = |file: &str| fs::read_to_string(yard.room.path(file)).unwrap_or_default();
    let made = count("made").lines().filter(|line| line.len() == 64).count();
    assert!(made >= 1, "somebody gets the name");
    for line in count("refused").lines().filter(|line| !line.starts_with("See '")) {
        // Another one has the name, or has removed what was just made.
        let words = ["is already in use by container", "No such", "no container of the store", "gone", "was killed"];
        let fair = words.iter().any(|words| line.contains(words));
        assert!(fair, "{line}");
    }
    yard.sh("dock rm -f web").ok();
    // Who was overtaken by a remover may leave a directory without a name; its ID removes it.
    yard.sh("ls root/containers | xargs -r ctr-rm --force").ok();
    assert_eq!(yard.sh("ls root/containers run/containers; dock ps -aq").ok(), "root/containers:\n\nrun/containers:");
}
