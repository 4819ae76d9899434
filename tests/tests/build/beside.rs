//! The instruction table built by dfile-build and by both builders of docker 20.10: with BuildKit configuration, history
//! and tree are equal, or both refuse; of the classic builder, which writes another history, configuration and tree, but
//! for what its row names. What BuildKit has learnt since is in `what_the_peer_is_too_old_for`, from its reference.

use super::cases::{BUILDKIT, CASES, CLASSIC, Case, OURS, REFUSED, TAKEN, room};
use dock_tests::tree::{self, Entry};
use dock_tests::{Ran, Room, dockerd::Dockerd, needs};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

struct Built {
    /// As docker inspect shows it.
    image: Value,
    history: Value,
    tree: BTreeMap<PathBuf, Entry>,
}

/// The image of a name, as docker's inspect, history and tree have it.
fn look(room: &Room, name: &str) -> Built {
    let box_ = format!("box-{name}").replace('/', "-");
    let script = format!(
        "img-inspect {name} | jq -c . && img-inspect --raw config {name} | jq -c .history && img-unpack --flat {name} {box_} >/dev/null"
    );
    let shown = room.sh(&script).ok();
    let (image, history) = shown.split_once('\n').unwrap();
    let tree = tree::list(&room.path(&box_).join("rootfs"));
    Built { image: serde_json::from_str(image).unwrap(), history: serde_json::from_str(history).unwrap(), tree }
}

/// What is equal by intent; each exception is BuildKit of 20.10 being older than its documentation, or a named
/// deviation of ours (dfile-build(1), DEVIATIONS).
fn line(entry: &Value) -> String {
    let text = entry["created_by"].as_str().unwrap_or_default();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = match word {
        // The list of ports was the text of a Go map.
        "EXPOSE" => rest.replace("map[", "[").replace(":{}", ""),
        // --start-interval is younger.
        "HEALTHCHECK" => rest.replacen("\"0s\" '", "'", usize::from(rest.matches("s\"").count() == 4)),
        // It showed the default and not the value.
        "ARG" => rest.split(' ').map(|word| word.split('=').next().unwrap_or_default()).collect::<Vec<_>>().join(" "),
        // It left the flags out, and did not clean the path.
        "COPY" | "ADD" => rest.split(' ').filter(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" "),
        "WORKDIR" => rest.trim_end_matches('/').to_owned(),
        _ => rest.to_owned(),
    };
    // A WORKDIR that is there already is a layer without anything in it; ours is none.
    let empty = if word == "WORKDIR" { &Value::Null } else { &entry["empty_layer"] };
    json!([word, rest, empty, entry["comment"], entry["author"]]).to_string()
}

/// What differs, each by its name. Histories are compared with BuildKit's only.
fn compare(ours: &Built, theirs: &Built, histories: bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut differ = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push((what.to_owned(), format!("  {what}\n    ours   {ours}\n    theirs {theirs}\n")));
        }
    };
    let shown = |value: &Value| match value {
        Value::Array(list) if list.is_empty() => Value::Null.to_string(),
        Value::Object(members) if members.is_empty() => Value::Null.to_string(),
        Value::Object(members) => format!("{:?}", members.iter().collect::<BTreeMap<_, _>>()),
        other => other.to_string(),
    };
    let members = |built: &Built| {
        let mut members = built.image["Config"].as_object().unwrap().clone();
        if !histories {
            // The classic builder names the image before its last step, leaves the working directory to the engine, and
            // never says of a command that it is for a shell.
            members.retain(|name, _| !["Image", "ArgsEscaped"].contains(&name.as_str()));
            members.entry("WorkingDir").and_modify(|dir| *dir = if dir == "" { "/".into() } else { dir.take() });
        }
        members
    };
    let (own, other) = (members(ours), members(theirs));
    for name in own.keys().chain(other.keys().filter(|name| !own.contains_key(*name))) {
        let value = |members: &Map<String, Value>| shown(members.get(name).unwrap_or(&Value::Null));
        differ(&format!("Config.{name}"), value(&own), value(&other));
    }
    for name in ["Author", "Comment", "Os", "Architecture"] {
        // The classic builder has no comments.
        if histories || name != "Comment" {
            differ(name, ours.image[name].to_string(), theirs.image[name].to_string());
        }
    }
    let lines = |built: &Built| {
        built.history.as_array().into_iter().flatten().map(line).collect::<Vec<_>>().join("\n           ")
    };
    if histories {
        differ("history", lines(ours), lines(theirs));
    }
    for path in ours.tree.keys().chain(theirs.tree.keys().filter(|path| !ours.tree.contains_key(*path))) {
        let entry = |built: &Built| {
            let mut entry = built.tree.get(path).cloned()?;
            // Of what a build makes the time is that of the build.
            if entry.kind == "directory" || entry.mtime.0 > 1_700_000_000 {
                entry.mtime.0 = 0;
            }
            entry.mtime.1 = 0;
            Some(entry)
        };
        differ(&path.display().to_string(), format!("{:?}", entry(ours)), format!("{:?}", entry(theirs)));
    }
    found
}

/// What the classic builder has otherwise without its row naming it, and what a row names without reason.
fn unnamed(case: &Case, found: Vec<(String, String)>) -> String {
    let is =
        |named: &str, what: &str| named == what || what.strip_prefix(named).is_some_and(|rest| rest.starts_with('/'));
    let idle = case.classic.iter().filter(|(named, _)| !found.iter().any(|(what, _)| is(named, what)));
    let mut report: String = idle.map(|(named, _)| format!("  {named} does not differ\n")).collect();
    for (what, text) in &found {
        if !case.classic.iter().any(|(named, _)| is(named, what)) {
            report.push_str(text);
        }
    }
    report
}

#[test]
fn the_table_is_what_docker_makes_of_it() {
    needs!(root, "busybox", "dockerd", "/usr/bin/docker", "jq", "bzip2", "xz", "setcap", "setfattr");
    let room = room();
    // In memory: the classic builder writes and syncs a few dozen files for each of some 300 steps.
    let memory = "--data-root /run/data --storage-driver overlay2";
    let Some(dockerd) = Dockerd::start_with(&room, memory) else { return };
    let docker = format!("DOCKER_CONFIG=$PWD/none DOCKER_HOST={} /usr/bin/docker", dockerd.host());
    room.sh(&format!("img-save localhost/base | {docker} load")).ok();
    for case in CASES {
        room.write(&format!("files/{}", case.name), case.dockerfile);
    }
    for (number, dockerfile) in TAKEN.iter().chain(REFUSED).enumerate() {
        room.write(&format!("files/refused-{number}"), dockerfile);
    }
    let all = |command: &str, owner: &str| -> (Vec<Option<Ran>>, Vec<i32>) {
        let build = |name: &str, options: &str| {
            room.sh(&format!("{command} -q -t {owner}-{name} -f files/{name} {options} ctx"))
        };
        let refused =
            (0..TAKEN.len() + REFUSED.len()).map(|number| build(&format!("refused-{number}"), "").code).collect();
        let case = |case: &Case| case.is_for(owner).then(|| build(case.name, case.options));
        (CASES.iter().map(case).collect(), refused)
    };
    let by = |builder: usize| format!("DOCKER_BUILDKIT={builder} {docker} build --network none");
    let [ours, buildkit, classic] = std::thread::scope(|scope| {
        let buildkit = scope.spawn(|| all(&by(1), BUILDKIT));
        let classic = scope.spawn(|| all(&by(0), CLASSIC));
        [all("dfile-build", OURS), buildkit.join().unwrap(), classic.join().unwrap()]
    });
    let mut report = String::new();
    for (number, dockerfile) in TAKEN.iter().chain(REFUSED).enumerate() {
        let codes = [ours.1[number], buildkit.1[number], classic.1[number]];
        // The classic client ends with the code of the RUN.
        if codes[..2] != [1, 1] || (codes[2] == 0) != (number < TAKEN.len()) {
            let _ = writeln!(report, "{codes:?} {dockerfile}");
        }
    }
    // The images that there are, each for its row.
    let mut made = |owner: &str, ran: Vec<Option<Ran>>| -> Vec<Option<String>> {
        let image = |(case, ran): (&Case, Option<Ran>)| match ran? {
            Ran { code: 0, .. } => Some(format!("{owner}-{}", case.name)),
            ran => {
                let _ = writeln!(report, "{}: {owner}: {}", case.name, ran.stderr);
                None
            }
        };
        CASES.iter().zip(ran).map(image).collect()
    };
    let (ours, buildkit, classic) = (made(OURS, ours.0), made(BUILDKIT, buildkit.0), made(CLASSIC, classic.0));
    let names: Vec<&str> = buildkit.iter().chain(&classic).flatten().map(String::as_str).collect();
    room.sh(&format!("{docker} save {} | img-load >/dev/null", names.join(" "))).ok();
    for (index, case) in CASES.iter().enumerate() {
        let Some(ours) = ours[index].as_ref().map(|name| look(&room, name)) else { continue };
        let text = |name: &String| -> String {
            compare(&ours, &look(&room, name), true).into_iter().map(|(_, text)| text).collect()
        };
        if let Some(text) = buildkit[index].as_ref().map(text).filter(|text| !text.is_empty()) {
            let _ = write!(report, "{} by BuildKit\n{text}", case.name);
        }
        let text = |name: &String| unnamed(case, compare(&ours, &look(&room, name), false));
        if let Some(text) = classic[index].as_ref().map(text).filter(|text| !text.is_empty()) {
            let _ = write!(report, "{} by the classic builder\n{text}", case.name);
        }
    }
    assert!(report.is_empty(), "{report}");
    let output = "dfile-build -q -t output -o type=docker,dest=output.tar -f files/labels ctx >/dev/null";
    room.sh(&format!("{output} && {docker} load -i output.tar && {docker} run --rm --network none output true")).ok();
}

/// What BuildKit has learnt since 20.10, as its source and reference have it: the values of ARG (`dispatchArg`) and each
/// once (`runCommandString`), clean paths (WORKDIR), flags in the history (COPY --chown --chmod), the fifth time of a
/// health check, an interval of 0, the bits of chmod(2) in --chmod, patterns in variables ("Environment replacement"),
/// text behind a JSON array as a shell line.
#[test]
fn what_the_peer_is_too_old_for() {
    needs!(root, "jq");
    let room = Room::new();
    room.write("ctx/f", "x");
    room.write(
        "ctx/Dockerfile",
        "ARG G=global\nFROM scratch\nARG A=1 B=$A G\nARG C N\nARG A=2\nWORKDIR /e/$no/\nCOPY --chown=7:8 --chmod=4711 f /f\n\
         HEALTHCHECK --interval=0 --start-interval=1.5ms --retries=3 CMD x\nENV P=/a/b.c V=${P:-x/y.z}\n\
         ENV W=${P##*/} X=${P%.*} Y=${P/b/_} Z=${P//\\//-}\nCMD [\"a\"] b\n",
    );
    room.sh("dfile-build -q -t it --build-arg C=given ctx").ok();
    assert_eq!(
        room.sh("img-inspect --raw config it | jq -r '.history[] | .created_by'").ok(),
        "ARG A=1 B=1 G=global\nARG C=given N\nARG A=2\nWORKDIR /e\nCOPY --chown=7:8 --chmod=4711 f /f # buildkit\n\
         HEALTHCHECK &{[\"CMD-SHELL\" \"x\"] \"0s\" \"0s\" \"0s\" \"1.5ms\" '\\x03'}\nENV P=/a/b.c V=x/y.z\n\
         ENV W=b.c X=/a/b Y=/a/_.c Z=-a-b.c\nCMD [\"/bin/sh\" \"-c\" \"[\\\"a\\\"] b\"]"
    );
    room.sh("img-unpack --flat it box").ok();
    assert_eq!(room.sh("stat -c '%a %u %g' box/rootfs/f").ok(), "4711 7 8");
}

/// dfile-build(1), DEVIATIONS: where BuildKit takes what can only be a mistake, the reference or the classic builder
/// decides.
#[test]
fn named_deviations() {
    needs!(root, "busybox");
    let room = room();
    for (line, part) in [
        ("COPY --chown=nobody-here d /x/", "unable to find user nobody-here"),
        ("COPY --chown=app:nope x1.txt /", "unable to find group nope"),
        ("COPY x1.txt x2.txt /x", "must end with /"),
        ("COPY x*.txt /x", "must end with /"),
        ("ADD broken.tar /", "ADD: broken.tar: unexpected EOF"),
    ] {
        room.write("ctx/Dockerfile", format!("FROM localhost/base\n{line}\n"));
        room.sh("dfile-build -q ctx").fails(1, part);
    }
    let dockerfile =
        "FROM localhost/base\nWORKDIR /bin\nUSER app\nRUN --mount=type=tmpfs,target=/new/place id -G >/tmp/groups\n";
    room.write("ctx/Dockerfile", dockerfile);
    room.sh("dfile-build -q -t it ctx").ok();
    let layers = |built: &Built| built.image["RootFS"]["Layers"].as_array().unwrap().len();
    let base = look(&room, "localhost/base");
    let built = look(&room, "it");
    assert_eq!(layers(&built), layers(&base) + 1, "a WORKDIR that is there is no layer");
    assert_eq!(room.sh("cat box-it/rootfs/tmp/groups").ok(), "1001 33", "CVE-2022-36109");
    assert!(!built.tree.contains_key(&PathBuf::from("new")), "no place to mount on stays");
}
