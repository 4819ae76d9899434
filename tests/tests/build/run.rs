//! RUN: what a command sees and may, what is left of it when it fails, and what it costs.

use super::{config, fails, last_layer};
use dock_tests::{Room, needs};

#[test]
fn run_sees_the_image_and_the_arguments_and_nothing_of_the_caller() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write(
        "ctx/Dockerfile",
        "ARG GLOBAL=g\nFROM base\nARG A=1\nARG B\nARG GLOBAL\nENV C=\"two words\" A=env\nRUN env | sort >/env; id >/id; ip addr >/net; pwd >/pwd\n\
         USER app\nWORKDIR /home/app\nRUN id; pwd; echo $A-$B-$GLOBAL-$C\n",
    );
    let script = "SECRET_CANARY=leak AWS_TOKEN=leak dfile-build --build-arg B=b --build-arg A=ignored --progress plain -t it ctx";
    let ran = room.sh(script);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("env-b-g-two words"), "{}", ran.stderr);
    assert!(ran.stderr.contains("uid=1000(app) gid=1001(app)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("/home/app"), "{}", ran.stderr);
    config(&room, "it");
    let env = room.sh("grep -v -e ^SHLVL= -e ^PWD= -e ^HOSTNAME= box/rootfs/env").ok();
    assert_eq!(env, "A=env\nB=b\nC=two words\nGLOBAL=g\nHOME=/root\nPATH=/bin", "CVE-2021-3602");
    assert_eq!(room.sh("cat box/rootfs/pwd").ok(), "/");
    let net = room.sh("grep -c '^[0-9]' box/rootfs/net; grep -o LOOPBACK box/rootfs/net").ok();
    assert_eq!(net, "1\nLOOPBACK");
    assert_ne!(room.sh("grep -r -l SECRET_CANARY root").code, 0);
    let history = room.sh("img-inspect --history it").ok();
    assert!(history.contains("RUN |3 A=env B=b GLOBAL=g /bin/sh -c env | sort"), "{history}");
}

/// Reference, "BuildKit built-in build args": what they change, and that none has to be declared.
#[test]
fn build_arguments_for_the_builder() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let text = "FROM base\nRUN --mount=type=cache,id=c,target=/c hostname; touch /c/$(hostname)\n";
    let out = room.build(text, "");
    assert!(out.contains(" buildkitsandbox\n"), "{out}");
    let with = "--build-arg BUILDKIT_SANDBOX_HOSTNAME=mine --build-arg BUILDKIT_CACHE_MOUNT_NS=ours";
    let out = room.build(text, with);
    assert!(out.contains(" mine\n") && !out.contains("no ARG declares"), "{out}");
    assert_eq!(room.sh("cd root/cache/mounts && find . -type f | sort").ok(), "./c/buildkitsandbox\n./ours%2Fc/mine");
    assert_eq!(room.build(text, with).matches("CACHED").count(), 2);
    room.write("ctx/Dockerfile", "from base\nCMD x\n");
    let check =
        |words: &str| room.sh(&format!("dfile-build --check --build-arg BUILDKIT_DOCKERFILE_CHECK={words} ctx"));
    assert!(check("skip=JSONArgsRecommended").stdout.contains("ConsistentInstructionCasing"));
    check("skip=all").ok();
    room.sh("dfile-build -q --build-arg 'BUILDKIT_DOCKERFILE_CHECK=error=true' ctx").fails(1, "lint violation found");
    room.sh("dfile-build -q --build-arg BUILDKIT_INLINE_CACHE=perhaps ctx").fails(2, "want true or false");
}

#[test]
fn a_proxy_reaches_run_and_neither_history_nor_cache() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let text = "FROM base\nRUN echo \"p=$http_proxy\" | tee /p\n";
    assert!(room.build(text, "--build-arg http_proxy=http://one").contains("p=http://one"));
    assert!(!room.sh("img-inspect --history it").ok().contains("one"));
    assert_eq!(room.build(text, "--build-arg http_proxy=http://two").matches("CACHED").count(), 2);
}

#[test]
fn networks_and_rights_are_the_callers_to_give() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let interfaces = std::fs::read_dir("/sys/class/net").unwrap().count();
    let links = "ls /sys/class/net | wc -l";
    let out = room.build(&format!("FROM base\nRUN {links}\nRUN --network=none {links}\n"), "");
    assert_eq!(out.matches(" 1\n").count(), 2, "{out}");
    let host = format!("FROM base\nRUN --network=host grep -c : /proc/net/dev\nRUN --network=none {links}\n");
    fails(&room, &host, "", "network.host is not allowed");
    for options in ["--allow network.host", "--network host"] {
        let out = room.build(&host, &format!("--no-cache {options}"));
        assert!(out.contains(&format!(" {interfaces}\n")), "{interfaces}: {out}");
    }
    let all = "FROM base\nRUN --security=insecure grep CapEff /proc/self/status\nRUN grep CapEff /proc/self/status\n";
    fails(&room, all, "", "security.insecure is not allowed");
    let out = room.build(all, "--allow security.insecure");
    let caps: Vec<&str> = out.lines().filter_map(|line| line.split("CapEff:").nth(1)).map(str::trim).collect();
    assert!(caps.len() == 2 && caps[0] != caps[1], "{out}");
    let limits = "FROM base\nRUN grep box.test /etc/hosts; ulimit -n; df -k /dev/shm | tail -1; hostname; touch /x\n";
    let out = room.build(limits, "--add-host box.test:10.1.2.3 --ulimit nofile=77:77 --shm-size 3m");
    for part in ["10.1.2.3", " 77\n", " 3072 ", " buildkitsandbox\n"] {
        assert!(out.contains(part), "no {part:?} in {out}");
    }
    assert_eq!(last_layer(&room), "x");
    room.sh("dfile-build --network moon ctx").fails(2, "want none or host");
    room.sh("dfile-build --allow moon ctx").fails(2, "invalid entitlement: moon");
}

/// A directory that the command line names is copied, and stays where it is also when the step fails.
#[test]
fn a_named_directory_is_the_callers() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("named/f", "theirs");
    fails(
        &room,
        "FROM base\nRUN --mount=from=n,target=/n cat /n/f; exit 5\n",
        "--build-context n=named",
        "exit code 5",
    );
    assert_eq!(room.sh("cat named/f").ok(), "theirs");
}

#[test]
fn a_failed_run_keeps_its_state() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/Dockerfile", "FROM base\n\nRUN echo evidence >/left; echo said; exit 3\n");
    let ran = room.sh("dfile-build -q -t it ctx");
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines[0], "said");
    assert_eq!(lines[1], "dfile-build: Dockerfile:3: RUN echo evidence >/left; echo said; exit 3: exit code 3");
    let enter = lines[2].split("enter it with: ctr-spawn -t ").nth(1).unwrap().strip_suffix(" -- sh").unwrap();
    assert_eq!(room.sh(&format!("ctr-spawn {enter} -- sh -c 'cat /left'")).ok(), "evidence");
    assert!(!room.sh("img-ls").stdout.contains("it:"));
    room.sh("dfile-build -q -t it ctx");
    assert_eq!(room.sh("ls root/cache/failed | wc -l").ok(), "1", "the new state replaces the old one");
    // Where the shell does not find the tools, the line says where they are.
    let bin = dock_tests::bin().canonicalize().unwrap();
    let far = room.sh(&format!("PATH=/usr/bin:/bin {}/dfile-build -q ctx", bin.display()));
    assert!(far.stderr.contains(&format!("enter it with: {}/ctr-spawn -t ", bin.display())), "{far:?}");
    room.sh("img-fsck").ok();
}

/// The line that the message gives really enters what was left, mounts included, after the build is gone.
#[test]
fn the_state_of_a_failed_run_is_entered_with_its_mounts() {
    needs!(root, "busybox");
    let room = Room::with_base();
    room.write("ctx/f", "context");
    room.write(
        "ctx/Dockerfile",
        "FROM base AS other\nRUN echo stage >/s\nFROM base\nRUN --mount=source=f,target=/m/f --mount=from=other,target=/o --mount=type=cache,id=c,target=/c --mount=type=secret,id=t --mount=type=tmpfs,target=/t echo cached >/c/f; echo left >/left; exit 3\n",
    );
    room.write("t", "canary");
    let ran = room.sh("dfile-build -q --secret id=t,src=t ctx");
    let enter = ran.stderr.split("enter it with: ").nth(1).unwrap().trim().to_owned();
    let inside = enter.replace("-t ", "").replace("-- sh", "-- sh -c 'cat /m/f /o/s /c/f /left; cat /run/secrets/t'");
    let found = room.sh(&inside);
    assert_eq!(found.stdout, "contextstage\ncached\nleft\n", "{enter}: {found:?}");
}

/// As it stands, in a terminal: the line takes one to the shell of the stage, in a store of any name.
#[test]
fn the_line_that_enters_a_failed_state_is_one_to_paste() {
    needs!(root, "busybox", "script");
    let room = Room::with_base();
    for (shell, name) in [("", "sh"), ("SHELL [\"/bin/ash\", \"-c\"]\n", "/bin/ash")] {
        room.write("ctx/Dockerfile", format!("FROM base\n{shell}RUN echo left >/left; exit 3\n"));
        let ran = room.sh("[ -e \"my 'own' root\" ] || cp -a root \"my 'own' root\"; DOCK_ROOT=\"$PWD/my 'own' root\" dfile-build -q ctx");
        let enter = ran.stderr.split("enter it with: ").nth(1).unwrap_or_else(|| panic!("{ran:?}")).trim().to_owned();
        assert!(enter.ends_with(&format!("-- {name}")), "{enter}");
        room.write("enter", enter);
        let found = room.sh("printf 'echo $((6 * 7)) $(cat /left)\\nexit\\n' | script -qec '. ./enter' /dev/null");
        assert!(found.stdout.contains("\n42 left\r\n"), "{found:?}");
    }
}

/// What chmod, chown and touch copy is told with the flag that saves it; files that are new, and a few bytes, are not.
#[test]
fn a_step_that_copies_what_is_below_is_told() {
    needs!(root, "busybox", "jq");
    let room = Room::with_base();
    room.sh("head -c 700000 /dev/urandom >ctx/a; head -c 800000 /dev/urandom >ctx/b; echo small >ctx/c").ok();
    let told = |run: &str| {
        let text = format!("FROM base\nCOPY a b c /d/\nRUN {run}\n");
        let out = room.build(&text, "--metadata-file m");
        let lines: Vec<&str> = out.lines().filter(|line| line.contains("that are below it already")).collect();
        assert!(lines.len() < 2, "{lines:?}");
        let member = room.sh("jq -c '.\"dock.copied\"[0] | [.step, .files, .bytes, .changed, .largest]' m").ok();
        (lines.first().map(|line| line.split_once("warning: ").unwrap().1.to_owned()), member)
    };
    assert_eq!(
        told("chown -R 5:5 /d"),
        (
            Some("this step copies 1.5 MB in 3 files that are below it already, only for a new owner (the largest: /d/b): COPY --chown does it where they come in, or do it in the step that makes them".into()),
            "[\"RUN chown -R 5:5 /d\",3,1500006,[\"owner\"],\"/d/b\"]".into()
        )
    );
    // From the cache, too: also from one that was kept elsewhere.
    let again = "FROM base\nCOPY a b c /d/\nRUN chown -R 5:5 /d\n";
    for options in ["--cache-to type=local,dest=kept", "", "--root other --cache-from type=local,src=kept"] {
        if options.contains("other") {
            room.sh("mkdir -p other && img-save base | img-load --layout other/images").ok();
        }
        let out = room.build(again, &format!("--metadata-file m {options}"));
        assert!(out.matches(" CACHED\n").count() >= 2 && !out.contains(" DONE "), "{options}: {out}");
        assert_eq!(out.matches("this step copies 1.5 MB in 3 files").count(), 1, "{options}: {out}");
        assert_eq!(
            room.sh("jq -c '.\"dock.copied\"[0] | [.step, .bytes]' m").ok(),
            "[\"RUN chown -R 5:5 /d\",1500006]"
        );
    }
    let image = room.sh("jq -c '.\"containerimage.descriptor\".annotations' m").ok();
    assert!(!image.contains("copied"), "what the cache says is not the image's: {image}");
    assert!(told("chmod 600 /d/a /d/b").0.unwrap().contains("a new mode (the largest: /d/b): COPY --chmod does"));
    assert!(told("chmod 600 /d/a && chown 7 /d/b").0.unwrap().contains("COPY --chown --chmod does"));
    assert!(told("touch /d/a /d/b").0.unwrap().contains("a new time (the largest: /d/b): do it in the step"));
    let linked = told("ln /d/a /x; ln /d/b /y");
    assert!(
        linked.0.unwrap().contains("in 2 files that are below it already, only for a new link (")
            && linked.1.contains("[\"link\"]")
    );
    let none = (None, "[null,null,null,null,null]".to_owned());
    assert_eq!(told("chown 5 /d/a && echo >>/d/b && chmod 600 /d/c"), none, "under 1 MiB");
    assert_eq!(told("cp /d/b /d/e; dd if=/d/a of=/d/b conv=notrunc 2>/dev/null; head -c 800000 /d/e >/d/f"), none);
    let json = room.build("FROM base\nCOPY a b c /d/\nRUN chown -R 6:6 /d\n", "--progress rawjson");
    let warning = json.lines().filter(|line| line.starts_with("{\"warnings\"")).collect::<Vec<_>>().join("\n");
    assert!(warning.contains("\"short\":\"d2FybmluZzogdGhpcyBzdGVwIGNvcGllcy"), "{json}");
}

#[test]
fn memory_of_a_run() {
    needs!(root, "busybox");
    let room = Room::with_base();
    let out = room.build(
        "FROM base\nRUN --mount=type=tmpfs,target=/t,size=1m cp /bin/busybox /t/sh; chmod 755 /t/sh; /t/sh echo exec; df -k /t | tail -1; touch /x\n",
        "",
    );
    assert!(out.contains(" exec\n") || out.contains("No space left"), "{out}");
    assert!(out.contains("1024"), "{out}");
    assert_eq!(last_layer(&room), "x");
}
