//! The wrapper: docker's commands, messages and exit codes, under both shells that have to do.

use dock_tests::ends::Kill;
use dock_tests::image::{dock_under, image};
use dock_tests::{Ran, Room, bin, needs, top};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const SHELLS: [&str; 2] = ["dash", "busybox sh"];

/// A room with an image `busybox` (busybox and its applets, CMD sh) and a `dock` that `shell` runs.
struct Dock {
    room: Room,
    shell: &'static str,
}

impl Dock {
    fn new(shell: &'static str) -> Self {
        let room = Room::new();
        image(&room, "echo more:x:50:www >>t/etc/group", "-c 'CMD [\"sh\"]' -c 'ENV FROM_IMAGE=1' -t busybox");
        Self { room, shell }
    }

    /// Runs a script in which `dock` is tools/dock/dock under the shell of choice.
    fn sh(&self, script: &str) -> Ran {
        dock_under(self.shell, &self.room, script)
    }

    fn containers(&self) -> usize {
        fs::read_dir(self.room.path("root/containers"))
            .map_or(0, |all| all.flatten().filter(|e| e.path().is_dir()).count())
    }
}

fn in_both(test: impl Fn(&Dock)) {
    for shell in SHELLS {
        test(&Dock::new(shell));
    }
}

#[test]
fn run_passes_output_input_and_exit_codes() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        assert_eq!(dock.sh("dock run --rm busybox echo 'hello  world' \"it's\"").ok(), "hello  world it's");
        assert_eq!(dock.sh("echo in | dock run --rm -i busybox cat").ok(), "in");
        assert_eq!(dock.sh("echo in | dock run --rm busybox cat").ok(), "", "stdin only with -i");
        for (command, code) in
            [("true", 0), ("false", 1), ("sh -c 'exit 42'", 42), ("nothing-of-that-name", 127), ("/etc", 126)]
        {
            let ran = dock.sh(&format!("dock run --rm busybox {command}"));
            assert_eq!(ran.code, code, "{ran:#?}");
        }
        let ran = dock.sh("dock run --rm busybox sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'");
        assert_eq!(ran.code, 137, "{ran:#?}");
        let ran = dock.sh("dock run --rm busybox sh -c 'echo out; echo err >&2'");
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(dock.containers(), 0, "--rm leaves nothing");
    });
}

#[test]
fn run_options_reach_the_container() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        for (options, command, want) in [
            ("-e A='b  c' -e HOME=/h", "sh -c 'echo \"$A $HOME $FROM_IMAGE\"'", "b  c /h 1"),
            ("-w /new/dir", "pwd", "/new/dir"),
            ("-u www", "sh -c 'id -u; id -G; echo $HOME'", "33\n34 50\n/srv"),
            ("-u 12:13", "sh -c 'id -u; id -G; echo $HOME'", "12\n13\n/"),
            ("-h box", "sh -c 'hostname; echo $HOSTNAME; cat /etc/hostname'", "box\nbox\nbox"),
            ("-w '' --cpus 0", "pwd", "/"),
            ("--entrypoint /bin/echo", "a b", "a b"),
            ("--read-only", "sh -c 'echo x 2>/dev/null >/f || echo no'", "no"),
            ("--read-only=true -t=false", "sh -c 'echo x 2>/dev/null >/f || echo no'", "no"),
            ("--read-only --read-only=false -i=0", "sh -c 'echo x >/f && cat /f'", "x"),
            ("--read-only --tmpfs /tmp", "sh -c 'echo x >/tmp/f && cat /tmp/f'", "x"),
            ("--cap-drop all", "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
            ("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
            ("--ulimit nofile=99", "sh -c 'ulimit -n'", "99"),
            ("--network none", "ls /sys/class/net", "lo"),
            ("--add-host db:10.9.8.7", "grep 10.9 /etc/hosts", "10.9.8.7\tdb"),
        ] {
            assert_eq!(dock.sh(&format!("dock run --rm {options} busybox {command}")).ok(), want, "{options}");
        }
        assert_eq!(dock.sh("dock run --rm -v \"$PWD/made:/d\" -v named:/n busybox sh -c 'echo 1 >/d/f; echo 2 >/n/f' && cat made/f root/volumes/named/_data/f").ok(), "1\n2");
        let ran = dock.sh("dock run --rm -v \"$PWD/made:/d:ro\" busybox sh -c 'echo 1 2>/dev/null >/d/g || echo no'");
        assert_eq!(ran.ok(), "no");
    });
}

/// As a daemon's or a cron job's line may have it: the work is done all the same.
#[test]
fn closed_streams_are_no_obstacle() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        assert_eq!(dock.sh("dock create --name made busybox <&- >&- 2>&-").ok(), "");
        assert_eq!(dock.sh("dock ps -a <&- | grep -c made").ok(), "1");
        assert_eq!(dock.sh("dock ps -a >&-").ok(), "");
        dock.sh("dock rm none >&-").fails(1, "No such container: none");
        assert_eq!(dock.sh("dock rm none <&- >&- 2>&-").code, 1);
        assert_eq!(dock.sh("dock rm made >&-").ok(), "");
        assert_eq!(dock.containers(), 0);
    });
}

#[test]
fn a_failure_after_creation_leaves_nothing() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        for (words, message) in [
            ("-u nobody busybox true", "unable to find user nobody: no matching entries in passwd file"),
            ("-m 1m busybox true", "Minimum memory limit allowed is 6MB"),
            ("--name 'a b' busybox true", "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
            ("--sysctl kernel.core_pattern=x busybox true", "sysctl 'kernel.core_pattern=x' is not allowed"),
        ] {
            dock.sh(&format!("dock run {words}")).fails(125, message);
        }
        let ran = dock.sh("dock run --pull never nothing true");
        assert_eq!(ran.code, 125, "{ran:#?}");
        assert!(ran.stderr.contains("No such image: nothing:latest"), "{ran:#?}");
        for (words, message) in [
            ("run --no-such-flag busybox", "unknown flag: --no-such-flag\nSee 'dock run --help'.\n"),
            ("run --name", "flag needs an argument: --name\nSee 'dock run --help'.\n"),
            (
                "run --rm=perhaps busybox",
                "invalid argument \"perhaps\" for \"--rm\" flag: strconv.ParseBool: parsing \"perhaps\": invalid syntax\nSee 'dock run --help'.\n",
            ),
        ] {
            let ran = dock.sh(&format!("dock {words}"));
            assert_eq!((ran.code, ran.stderr.as_str()), (125, message));
        }
        assert_eq!(dock.containers(), 0);
    });
}

#[test]
fn a_missing_image_is_named_as_docker_names_it() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        // Port 1 refuses at once: no network is needed to fail.
        let ran = dock.sh("dock run 127.0.0.1:1/none true");
        assert_eq!(ran.code, 125);
        assert!(ran.stderr.starts_with("Unable to find image '127.0.0.1:1/none:latest' locally\n"), "{ran:#?}");
        assert_eq!(dock.containers(), 0);
        // How dock looks before it pulls: what else is wrong is said, that there is no image is not.
        let ran = dock.sh("img-unpack --if-there 127.0.0.1:1/none box");
        assert_eq!((ran.code, ran.stderr.as_str(), dock.room.path("box").exists()), (1, "", false), "{ran:#?}");
        dock.sh("touch file; img-unpack --if-there busybox file").fails(1, "file");
        let ran = dock.sh("dock run --restart nosuch busybox true");
        assert_eq!((ran.code, ran.stderr.matches("nosuch").count()), (125, 1), "said once: {ran:#?}");
        assert_eq!(dock.containers(), 0);
    });
}

#[test]
fn containers_are_created_listed_inspected_and_removed() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let id = dock.sh("dock create --name web -l tier=front busybox sleep 5").ok();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(dock.sh("dock ps -q").ok(), "");
        let table = dock.sh("dock ps -a").ok();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
            "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES"
        );
        assert!(
            lines[1].starts_with(&id[..12]) && lines[1].contains("\"sleep 5\"") && lines[1].contains(" Created "),
            "{table}"
        );
        assert!(lines[1].ends_with("web"), "{table}");
        for (filter, want) in [
            ("name=we", 1),
            ("label=tier", 1),
            ("label=tier=back", 0),
            ("ancestor=busybox", 1),
            ("status=exited", 0),
            ("id=zz", 0),
        ] {
            assert_eq!(dock.sh(&format!("dock ps -aq --filter {filter}")).ok().lines().count(), want, "{filter}");
        }
        let taken = format!(
            "Conflict. The container name \"/web\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
        );
        dock.sh("dock run --name web busybox true").fails(125, &taken);
        let inspected: serde_json::Value = serde_json::from_str(&dock.sh("dock inspect web").ok()).unwrap();
        assert_eq!(inspected[0]["Name"], "/web");
        assert_eq!(inspected[0]["State"]["Status"], "created");
        assert_eq!(inspected[0]["Config"]["Labels"]["tier"], "front");
        assert_eq!(dock.sh("dock run --cidfile cid busybox sh -c 'exit 3'").code, 3);
        let other = fs::read_to_string(dock.room.path("cid")).unwrap();
        assert!(dock.sh("dock ps -a --filter status=exited").ok().contains("Exited (3)"));
        dock.sh("dock run --cidfile cid busybox true")
            .fails(125, "container ID file found, make sure the other container isn't running or delete cid");
        assert_eq!(dock.sh(&format!("dock rm web {}", &other[..10])).ok(), format!("web\n{}", &other[..10]));
        dock.sh("dock rm web").fails(1, "No such container: web");
        let inspected: serde_json::Value = serde_json::from_str(
            &dock.sh("dock create --name kept --rm=false busybox >/dev/null; dock inspect kept busybox").ok(),
        )
        .unwrap();
        assert_eq!((&inspected[0]["Name"], &inspected[1]["RepoTags"][0]), (&"/kept".into(), &"busybox:latest".into()));
        dock.sh("dock rm kept").ok();
        for (words, message) in [
            ("image inspect web", "Error: No such image: web\n"),
            ("container inspect busybox", "Error: No such container: busybox\n"),
        ] {
            let ran = dock.sh(&format!("dock {words}"));
            assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (1, "[]\n", message));
        }
        let ran = dock.sh("dock inspect web");
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (1, "[]\n", "Error: No such object: web\n"));
        assert_eq!(dock.containers(), 0);
    });
}

#[test]
fn a_running_container_is_refused_and_forced() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let script = "dock run --name busy busybox sleep 60 & keeper=$!
            n=0; until [ -n \"$(dock ps -q)\" ] || [ $n -gt 100 ]; do sleep 0.1; n=$((n+1)); done
            dock ps; dock rm busy; echo \"rm $?\"; dock rm -f busy; echo \"rm -f $?\"
            wait $keeper; echo \"keeper $?\"; dock ps -aq";
        let ran = dock.sh(script);
        assert!(ran.stdout.contains(" Up ") && ran.stdout.contains("busy"), "{ran:#?}");
        assert!(ran.stderr.contains("cannot remove container \"/busy\": container is running: stop the container before removing or force remove"), "{ran:#?}");
        assert!(ran.stdout.ends_with("rm 1\nbusy\nrm -f 0\nkeeper 137\n"), "{ran:#?}");
        assert_eq!(dock.containers(), 0);
    });
}

#[test]
fn images_are_listed_tagged_saved_loaded_and_removed() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let images = dock.sh("dock images").ok();
        assert_eq!(
            images.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "),
            "REPOSITORY TAG IMAGE ID CREATED SIZE"
        );
        assert_eq!(dock.sh("dock tag busybox app:1 && dock image ls").ok().lines().count(), 3);
        let id = dock.sh("dock images -q --no-trunc busybox").ok();
        dock.sh("dock save -o all.tar busybox app:1 && dock rmi -f busybox app:1 >/dev/null").ok();
        assert_eq!(dock.sh("dock images -q").ok(), "");
        let loaded = dock.sh("dock load -i all.tar").ok();
        assert!(loaded.contains("Loaded image: busybox:latest") && loaded.contains("Loaded image: app:1"), "{loaded}");
        assert_eq!(dock.sh("dock images -q --no-trunc busybox").ok(), id);
        let loaded = dock.sh("dock save --all-platforms busybox | dock load --all-platforms -q").ok();
        assert_eq!(loaded, "Loaded image: busybox:latest");
        let inspected: serde_json::Value = serde_json::from_str(&dock.sh("dock inspect busybox app:1").ok()).unwrap();
        assert_eq!((&inspected[0]["Id"], inspected.as_array().unwrap().len()), (&id.clone().into(), 2));
        assert!(dock.sh("dock history busybox").ok().contains("CMD [\"sh\"]"));
        dock.sh("dock tag none a:b").fails(1, "No such image: none:latest");
        let ran = dock.sh("dock tag busybox");
        assert_eq!(ran.code, 1);
        assert!(
            ran.stderr.starts_with("\"dock tag\" requires exactly 2 arguments.\nSee 'dock tag --help'.\n"),
            "{ran:#?}"
        );
    });
}

/// A web server of the files below a directory, on a port of its own, and its address.
fn web(dir: &Path) -> (Kill, String) {
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "-b", "127.0.0.1", "0"]).current_dir(dir);
    let mut server = Kill(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let url = line.split(['(', ')']).nth(1).expect("an address").trim_end_matches('/').to_owned();
    (server, url)
}

/// On stdin, packed by anything, a directory, over HTTP: always the same tree.
#[test]
fn import_takes_a_tree_from_wherever_it_is() {
    needs!(root, "busybox", "dash", "curl", "python3", "xz", "bzip2", "zstd");
    in_both(|dock| {
        // Not by busybox: its tar gives links the time of today.
        let packed = "gzip -k t.tar; xz -k t.tar; bzip2 -k t.tar; zstd -q t.tar; mkdir tree; tar -C tree -xf t.tar";
        dock.room.sh(packed).ok();
        let (_server, url) = web(&dock.room.path(""));
        for from in ["-", "t.tar.gz", "t.tar.xz", "t.tar.bz2", "t.tar.zst", "tree", &format!("{url}/t.tar")] {
            dock.sh(&format!("dock import {from} mine:3 <t.tar")).ok();
            dock.sh("img-unpack mine:3 look >/dev/null").ok();
            assert_eq!(dock.sh("layer-diff --list tree look/rootfs && rm -r look").ok(), "", "{from}");
        }
        for (bad, says) in [(format!("{url}/none.tar"), "404"), ("cut.tar".into(), "malformed tar")] {
            let ran = dock.sh(&format!("head -c 5000 t.tar >cut.tar; dock import {bad} mine:4"));
            assert!(ran.code == 1 && ran.stdout.is_empty() && ran.stderr.contains(says), "{ran:#?}");
        }
        let ran = dock.sh("dock import - mine:4 <cut.tar");
        assert!(ran.code == 1 && ran.stderr.contains("malformed tar"), "{ran:#?}");
        assert_eq!(dock.sh("dock images -q mine").ok().lines().count(), 1, "the others before it have no name now");
    });
}

#[test]
fn import_export_diff_and_commit() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let id = dock.sh("dock import -c 'CMD [\"echo\",\"imported\"]' t.tar mine:1").ok();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        assert_eq!(dock.sh("dock run --rm mine:1").ok(), "imported");
        let ran = dock.sh("dock import none.tar mine:2");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:#?}");
        dock.sh("dock run --name idle busybox true").ok();
        assert_eq!(dock.sh("dock diff idle").ok(), "", "what is mounted on is no change");
        dock.sh("dock rm idle").ok();
        dock.sh("dock run --name work busybox sh -c 'echo new >/new; rm /etc/group; mkdir /d'").ok();
        let changes = dock.sh("dock diff work").ok();
        for change in ["A /new", "D /etc/group", "A /d", "C /etc"] {
            assert!(changes.lines().any(|line| line == change), "{change}: {changes}");
        }
        let id = dock.sh("dock commit -m 'a word' -a me -c 'CMD [\"cat\",\"/new\"]' work done:2").ok();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        assert_eq!(dock.sh("dock run --rm done:2").ok(), "new");
        assert_eq!(dock.sh("dock run --rm done:2 sh -c 'ls /etc/group 2>/dev/null || echo gone'").ok(), "gone");
        assert!(dock.sh("dock history done:2").ok().contains("a word"));
        let names = dock.sh("dock export work | tar -t").ok();
        assert!(names.lines().any(|n| n.trim_start_matches("./") == "new") && !names.contains("etc/group"), "{names}");
        dock.sh("dock export -o e.tar work && tar -tf e.tar >/dev/null && dock rm work && dock export work")
            .fails(1, "No such container: work");
    });
}

#[test]
fn build_makes_an_image() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        dock.room.write("ctx/Dockerfile", "FROM busybox\nRUN echo built >/built\nCMD [\"cat\",\"/built\"]\n");
        dock.sh("dock build -q -t own:1 ctx").ok();
        assert_eq!(dock.sh("dock run --rm own:1").ok(), "built");
    });
}

#[test]
fn traced_lines_can_be_pasted() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let words = "run --name traced -e 'A=it'\\''s  \"quoted\"' busybox sh -c 'echo \"$A\"; echo \"[$0]\"' 'a
b'";
        let traced = dock.sh(&format!("dock --trace {words}"));
        assert_eq!(traced.stdout, "it's  \"quoted\"\n[a\nb]\n", "{traced:#?}");
        assert_eq!(traced.code, 0);
        dock.sh("dock rm traced").ok();
        // Pasted into a shell without dock, the lines do the same.
        let pasted = dock.room.command(dock.shell, &traced.stderr);
        assert_eq!((pasted.stdout.as_str(), pasted.code), (traced.stdout.as_str(), 0), "{pasted:#?}");
        assert_eq!(dock.sh("dock ps -a --format json").ok().lines().count(), 1);
    });
}

#[test]
fn a_dry_run_changes_nothing_and_prints_a_script() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let before = dock.sh("find root -type f | sort").ok();
        for words in [
            "run --rm --cidfile c busybox echo hi",
            "pull x",
            "rmi busybox",
            "import t.tar x",
            "build -t x .",
            "load -i t.tar",
        ] {
            let printed = dock.sh(&format!("dock -n {words}")).ok();
            assert!(!printed.is_empty(), "{words}");
        }
        assert_eq!(dock.sh("find root -type f | sort").ok(), before);
        assert!(!dock.room.path("c").exists());
        let script = dock.sh("dock -n run --name dry busybox echo hi").ok();
        let ran = dock.room.command(dock.shell, &script);
        assert_eq!(ran.ok(), "hi");
    });
}

#[test]
fn help_is_made_from_the_commands() {
    needs!("dash", "busybox");
    for shell in SHELLS {
        let dock = Dock { room: Room::new(), shell };
        let help = dock.sh("dock help").ok();
        for entry in fs::read_dir(top().join("tools/dock/dock.d")).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(text.lines().count() <= 100, "{name} is longer than a command should be");
            if name.contains('.') {
                continue;
            }
            assert!(text.contains("\n# Summary: ") && text.contains("\n# Usage: dock "), "{name} has no header");
            assert!(help.contains(&format!("\n  {name} ")), "{name}");
            let own = dock.sh(&format!("dock {name} --help")).ok();
            assert!(own.starts_with(&format!("Usage:  dock {name}")) && !own.contains("shellcheck"), "{own}");
        }
        // A group once, and each command in it once, whatever else it is called.
        assert_eq!(help.matches("\n  image       Manage images\n").count(), 1, "{help}");
        let group = dock.sh("dock image --help").ok();
        assert!(
            group.contains("\n  inspect     Return low-level") && group.contains("\n  ls          List images\n"),
            "{group}"
        );
        assert!(!group.contains("\n  list "), "{group}");
        let ran = dock.sh("dock nonsense");
        assert_eq!((ran.code, ran.stderr.lines().next()), (1, Some("dock: unknown command: dock nonsense")));
        for evil in ["../dock", "lib.sh", "''", "container.sh"] {
            assert_eq!(dock.sh(&format!("dock {evil}")).code, 1, "{evil}");
        }
        assert!(dock.sh("dock --version").ok().starts_with("dock version "));
    }
}

#[test]
fn dock_is_found_through_links_and_without_its_directory() {
    needs!("dash", "busybox");
    assert!(bin().is_dir());
    for shell in SHELLS {
        let dock = Dock { room: Room::new(), shell };
        let file = top().join("tools/dock/dock");
        let script = format!(
            "mkdir a && ln -s {} a/one && ln -s one a/two && {shell} a/two help >/dev/null && PATH=$PWD/a:$PATH {shell} a/one version",
            file.display()
        );
        assert!(dock.room.command(shell, &script).ok().starts_with("dock:\n Version: "));
    }
}

/// What people do with docker in docker and podman in podman.
#[test]
fn dock_in_a_container_runs_or_says_what_it_takes() {
    needs!(root, "busybox", "dash");
    let dock = Dock::new("dash");
    let inner = "img-append --base scratch --layer /t.tar -t busybox >/dev/null; dock run --rm busybox echo inside";
    let run = |options: &str| {
        dock.sh(&format!(
            "dock run --rm {options} -v {}:/dbin:ro -v \"$PWD/t.tar:/t.tar:ro\" -e PATH=/dbin:/bin busybox sh -c '{inner}'",
            bin().display()
        ))
    };
    assert_eq!(run("--privileged -v store:/var/lib/dock").ok(), "inside");
    for (options, hint) in [
        ("-v store:/var/lib/dock", "\nhint: a filter of system calls answers so"),
        ("--privileged", "\nhint: it lies on an overlay itself"),
    ] {
        let ran = run(options);
        assert!(ran.code == 125 && ran.stderr.contains(hint), "{ran:#?}");
    }
}

/// What the tab key offers, by the file that make install puts where bash looks for it.
#[test]
fn the_tab_key_knows_commands_options_and_names() {
    needs!(root, "busybox", "bash");
    let dock = Dock::new("dash");
    dock.sh("dock create --name one busybox >/dev/null; dock create --name two busybox >/dev/null; dock volume create vol >/dev/null").ok();
    let tab = |line: &str| {
        let script = format!(
            ". {}/tools/dock/completion.bash
            COMP_WORDS=(dock {line}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _dock dock \"${{COMP_WORDS[-1]}}\"; echo ${{COMPREPLY[@]}}",
            top().display()
        );
        // The dock that is beside the tools, as an installed one is.
        dock.room.command("bash", &script).ok()
    };
    for (line, offered) in [
        ("st", "start stats stop"),
        ("--", "--dry-run --trace --version"),
        ("volume ''", "create inspect ls prune rm"),
        ("start ''", "two one"),
        ("rm -f t", "two"),
        ("container stop o", "one"),
        ("run --rm b", "busybox:latest"),
        ("image rm ''", "busybox:latest"),
        ("volume rm v", "vol"),
        ("run --restart=no --cpuset-", "--cpuset-cpus --cpuset-mems"),
        ("ps --la", "--last --latest"),
        // Files, which bash finds by itself.
        ("cp ./", ""),
        ("build ''", ""),
        ("nonsense ''", ""),
    ] {
        assert_eq!(tab(line), offered, "dock {line}");
    }
}
