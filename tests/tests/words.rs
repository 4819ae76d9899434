//! Docker's words and columns: the command lines of images, ps, inspect, history, tag and rmi, wrong ones too, and
//! what a script written for docker reads from them. What is expected was seen beside docker 20.10.24.

use dock_tests::image::dock_under;
use dock_tests::{Ran, Room, needs};
use serde_json::Value;

const SHELLS: [&str; 2] = ["dash", "busybox sh"];

struct Dock {
    room: Room,
    shell: &'static str,
}

impl Dock {
    /// Two images: `base:1`, also called `other/name:2`, and `old:1` of 2020.
    fn new(shell: &'static str) -> Self {
        let room = Room::new();
        room.sh("mkdir -p t/bin && cp \"$(command -v busybox)\" t/bin/busybox && ln -s busybox t/bin/sh && tar -C t -cf t.tar . \
            && img-append --base scratch --layer t.tar -c 'CMD [\"sh\",\"-c\",\"echo hi\"]' -c 'ENV A=b C=\"d e\"' \
               -c 'LABEL com.x=1 l2=\"two words\"' -c 'EXPOSE 80 443/udp' -c 'VOLUME /data' -t base:1 \
            && img-tag base:1 other/name:2 \
            && img-append --base base:1 --created 2020-01-02T03:04:05Z -c 'ENV D=1' -m note -t old:1")
            .ok();
        Self { room, shell }
    }

    fn sh(&self, script: &str) -> Ran {
        dock_under(self.shell, &self.room, script)
    }

    /// Exit code, stdout, stderr.
    fn says(&self, words: &str) -> (i32, String, String) {
        let ran = self.sh(&format!("dock {words}"));
        (ran.code, ran.stdout, ran.stderr)
    }
}

fn in_both(test: impl Fn(&Dock)) {
    for shell in SHELLS {
        test(&Dock::new(shell));
    }
}

#[test]
fn wrong_command_lines_are_dockers() {
    needs!("busybox", "dash");
    in_both(|dock| {
        for (words, code, said) in [
            ("images --nope", 125, "unknown flag: --nope\nSee 'dock images --help'.\n"),
            ("image ls --nope=1", 125, "unknown flag: --nope\nSee 'dock image ls --help'.\n"),
            ("images -z", 125, "unknown shorthand flag: 'z' in -z\nSee 'dock images --help'.\n"),
            ("images -qz", 125, "unknown shorthand flag: 'z' in -z\nSee 'dock images --help'.\n"),
            ("images --filter", 125, "flag needs an argument: --filter\nSee 'dock images --help'.\n"),
            ("ps -f", 125, "flag needs an argument: 'f' in -f\nSee 'dock ps --help'.\n"),
            (
                "images -f foo",
                125,
                "invalid argument \"foo\" for \"-f, --filter\" flag: bad format of filter (expected name=value)\nSee 'dock images --help'.\n",
            ),
            (
                "ps --all=maybe",
                125,
                "invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\nSee 'dock ps --help'.\n",
            ),
            (
                "images a b",
                1,
                "\"dock images\" requires at most 1 argument.\nSee 'dock images --help'.\n\nUsage:  dock images [OPTIONS] [REPOSITORY[:TAG]]\n\nList images\n",
            ),
            (
                "ps a",
                1,
                "\"dock ps\" accepts no arguments.\nSee 'dock ps --help'.\n\nUsage:  dock ps [OPTIONS]\n\nList containers\n",
            ),
            (
                "rmi",
                1,
                "\"dock rmi\" requires at least 1 argument.\nSee 'dock rmi --help'.\n\nUsage:  dock rmi [OPTIONS] IMAGE [IMAGE...]\n\nRemove one or more images\n",
            ),
            (
                "image history",
                1,
                "\"dock image history\" requires exactly 1 argument.\nSee 'dock image history --help'.\n\nUsage:  dock image history [OPTIONS] IMAGE\n\nShow the history of an image\n",
            ),
            (
                "pull",
                1,
                "\"dock pull\" requires exactly 1 argument.\nSee 'dock pull --help'.\n\nUsage:  dock pull [OPTIONS] NAME[:TAG|@DIGEST]\n\nDownload an image from a registry\n",
            ),
            (
                "run",
                1,
                "\"dock run\" requires at least 1 argument.\nSee 'dock run --help'.\n\nUsage:  dock run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nCreate and run a new container from an image\n",
            ),
            ("pull --nope x", 125, "unknown flag: --nope\nSee 'dock pull --help'.\n"),
            ("image push -z x", 125, "unknown shorthand flag: 'z' in -z\nSee 'dock image push --help'.\n"),
            (
                "load x",
                1,
                "\"dock load\" accepts no arguments.\nSee 'dock load --help'.\n\nUsage:  dock load [OPTIONS]\n\nLoad images from an archive (from stdin by default)\n",
            ),
            ("save --nope x", 125, "unknown flag: --nope\nSee 'dock save --help'.\n"),
            ("import --nope x", 125, "unknown flag: --nope\nSee 'dock import --help'.\n"),
            ("logout --nope", 125, "unknown flag: --nope\nSee 'dock logout --help'.\n"),
            ("inspect --type foo x", 1, "\"foo\" is not a valid value for --type\n"),
            (
                "image nope",
                1,
                "dock: unknown command: dock image nope\n\nRun 'dock image --help' for more information\n",
            ),
            ("images -f colour=red", 1, "Error response from daemon: Invalid filter 'colour'\n"),
            ("images -f dangling=maybe", 1, "Error response from daemon: Invalid filter 'dangling=[maybe]'\n"),
            ("images -f before=nope", 1, "Error response from daemon: No such image: nope:latest\n"),
            ("ps -a -f foo=bar", 1, "Error response from daemon: Invalid filter 'foo'\n"),
            ("ps -a -f status=foo", 1, "Error response from daemon: Invalid filter 'status=foo'\n"),
            ("ps -f exited=foo", 1, "Error response from daemon: strconv.Atoi: parsing \"foo\": invalid syntax\n"),
            ("ps -f is-task=maybe", 1, "Error response from daemon: Invalid filter 'is-task=[maybe]'\n"),
            ("ps -f health=maybe", 1, "Error response from daemon: Unrecognised filter value for health: maybe\n"),
            ("history nope", 1, "Error response from daemon: No such image: nope:latest\n"),
            ("tag nope x", 1, "Error response from daemon: No such image: nope:latest\n"),
            ("rmi nope", 1, "Error response from daemon: No such image: nope:latest\n"),
            (
                "tag base:1 Bad",
                1,
                "Error parsing reference: \"Bad\" is not a valid repository/tag: invalid reference format\n",
            ),
            (
                "tag base:1 ''",
                1,
                "Error parsing reference: \"\" is not a valid repository/tag: invalid reference format\n",
            ),
        ] {
            let (got, stdout, stderr) = dock.says(words);
            let stderr: String =
                stderr.lines().filter(|l| !l.starts_with("hint: ")).map(|l| l.to_owned() + "\n").collect();
            assert_eq!((got, stderr.as_str(), stdout.as_str()), (code, said, ""), "dock {words}");
        }
    });
}

#[test]
fn templates_that_are_wrong_are_dockers() {
    needs!("busybox", "dash");
    in_both(|dock| {
        let unclosed = "template parsing error: template: :1: unclosed action\n";
        let missing = |what: &str, name: &str, rest: &str| {
            format!("{what}: template: :1:2: executing \"\" at <.{name}>: {rest}\n")
        };
        let of = |kind: &str| format!("can't evaluate field Nope in type {kind}");
        for (words, code, stdout, said) in [
            ("images --format '{{'", 1, "", unclosed.to_owned()),
            ("ps --format '{{'", 1, "", unclosed.replace("template parsing error", "failed to parse template")),
            ("inspect -f '{{' base:1", 64, "", unclosed.to_owned()),
            (
                "inspect -f '{{foo .ID}}' base:1",
                64,
                "",
                "template parsing error: template: :1: function \"foo\" not defined\n".into(),
            ),
            (
                "images --format '{{.Nope}}'",
                1,
                "",
                missing("template parsing error", "Nope", &of("*formatter.imageContext")),
            ),
            (
                "images --format 'table {{.Nope}}'",
                1,
                "",
                missing("template parsing error", "Nope", &of("*formatter.imageContext")),
            ),
            (
                "history --format '{{.Nope}}' base:1",
                1,
                "",
                missing("template parsing error", "Nope", &of("*image.historyContext")),
            ),
            (
                "inspect -f '{{.Nope}}' base:1",
                1,
                "\n",
                missing("template parsing error", "Nope", "map has no entry for key \"Nope\""),
            ),
        ] {
            assert_eq!(dock.says(words), (code, stdout.into(), said), "dock {words}");
        }
    });
}

#[test]
fn images_are_shown_by_template() {
    needs!("busybox", "dash");
    in_both(|dock| {
        let id = dock.sh("dock images -q base").ok();
        assert_eq!(id.len(), 12);
        for (options, want) in [
            ("--format '{{.Repository}}:{{.Tag}}'", "base:1\nother/name:2\nold:1".to_owned()),
            ("--format 'table {{.Repository}}\\t{{.Tag}}' base", "REPOSITORY   TAG\nbase         1".into()),
            (
                "--format 'table {{.ID}}\\t{{upper .Repository}}' base",
                format!("IMAGE ID       REPOSITORY\n{id}   BASE"),
            ),
            (
                "--format '{{.CreatedAt}} {{.CreatedSince}}' old",
                format!("2020-01-02 03:04:05 +0000 UTC {} years ago", years()),
            ),
            ("-q --format '{{.Tag}}' old", "1".into()),
            ("-q --format table base", id.clone()),
            ("-f reference='b*' -f reference=old --format '{{.Repository}}'", "base\nold".into()),
            ("-f until=24h --format '{{.Repository}}'", "old".into()),
            ("-f label=com.x=1 -f before=base:1 --format '{{.Repository}}'", "old".into()),
            ("--filter LABEL=com.x=2 -q", String::new()),
        ] {
            assert_eq!(dock.sh(&format!("dock images {options}")).ok(), want, "{options}");
        }
        // Docker's client shows times in its own zone.
        let zoned = dock.sh("export TZ=ABC-3; dock images --format '{{.CreatedAt}}' old; dock history --format '{{.CreatedAt}}' old:1 | head -n 1");
        assert_eq!(zoned.ok(), "2020-01-02 06:04:05 +0300 ABC\n2020-01-02T06:04:05+03:00");
        let line: Value = serde_json::from_str(&dock.sh("dock images --format json old").ok()).unwrap();
        let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        let dockers = [
            "Containers",
            "CreatedAt",
            "CreatedSince",
            "Digest",
            "ID",
            "Repository",
            "SharedSize",
            "Size",
            "Tag",
            "UniqueSize",
            "VirtualSize",
        ];
        assert_eq!(keys, dockers);
        assert_eq!(
            (&line["Repository"], &line["Tag"], &line["Containers"]),
            (&"old".into(), &"1".into(), &"N/A".into())
        );
        assert_eq!(
            dock.sh("dock images --digests old | head -1").ok().split_whitespace().collect::<Vec<_>>(),
            ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
        );
        let same = dock.sh("dock image ls -aq --no-trunc base").ok();
        assert!(same.starts_with(&format!("sha256:{id}")) && same.len() == 71, "{same}");
    });
}

/// Whole years since the beginning of 2020, as docker counts them.
fn years() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (now - 1_577_934_245) / 3600 / 24 / 365
}

#[test]
fn history_is_dockers() {
    needs!("busybox", "dash");
    in_both(|dock| {
        let id = dock.sh("dock images -q old").ok();
        let table = dock.sh("dock history old:1").ok();
        let mut lines = table.lines();
        let words = |line: Option<&str>| {
            line.unwrap().split("  ").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words(lines.next()), ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
        let first = words(lines.next());
        assert_eq!(
            (first[0].as_str(), first[1].as_str(), first[3].as_str(), first[4].as_str()),
            (id.as_str(), format!("{} years ago", years()).as_str(), "0B", "note")
        );
        assert!(lines.all(|line| line.starts_with("<missing>")), "{table}");
        let count = table.lines().count() - 1;
        assert_eq!(dock.sh("dock history -q old:1").ok().lines().count(), count);
        assert_eq!(dock.sh("dock history -q old:1 | head -1").ok(), id);
        let bare =
            dock.sh("dock history --human=false --format 'table {{.CreatedAt}}\\t{{.Size}}\\t{{.Comment}}' old:1").ok();
        let bare: Vec<_> = bare.lines().take(2).map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(bare, [vec!["CREATED", "AT", "SIZE", "COMMENT"], vec!["2020-01-02T03:04:05Z", "0", "note"]]);
        let json: Value =
            serde_json::from_str(dock.sh("dock history --format json old:1").ok().lines().next().unwrap()).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"]);
        assert!(
            dock.sh("dock history --no-trunc --format '{{.ID}}' old:1 | head -1")
                .ok()
                .starts_with(&format!("sha256:{id}"))
        );
    });
}

#[test]
fn inspect_finds_what_there_is() {
    needs!("busybox", "dash");
    in_both(|dock| {
        for (words, code, stdout, stderr) in [
            ("inspect nope", 1, "[]\n", "Error: No such object: nope\n"),
            ("image inspect nope", 1, "[]\n", "Error: No such image: nope\n"),
            ("container inspect base:1", 1, "[]\n", "Error: No such container: base:1\n"),
            ("inspect --type container base:1", 1, "[]\n", "Error: No such container: base:1\n"),
            ("inspect -f '{{.Os}}' nope", 1, "\n", "Error: No such object: nope\n"),
            ("inspect -f '{{.Os}}' base:1 nope old:1", 1, "linux\nlinux\n", "Error: No such object: nope\n"),
            ("inspect --size -f '{{.Os}}' base:1", 0, "linux\n", "WARNING: --size ignored for image\n"),
            ("inspect -f '{{.Config.Labels}} {{.Config.Entrypoint}}' base:1", 0, "map[com.x:1 l2:two words] []\n", ""),
            (
                "inspect -f '{{json .Config.Cmd}} {{index .Config.Labels \"l2\"}}' base:1",
                0,
                "[\"sh\",\"-c\",\"echo hi\"] two words\n",
                "",
            ),
            ("inspect --format='{{range .Config.Env}}{{println .}}{{end}}' base:1", 0, "A=b\nC=d e\n\n", ""),
            ("inspect -f '{{if .Config.Healthcheck}}y{{else}}n{{end}}' base:1", 0, "n\n", ""),
        ] {
            assert_eq!(dock.says(words), (code, stdout.into(), stderr.into()), "dock {words}");
        }
        let text = dock.sh("dock image inspect base:1 old:1").ok();
        assert!(text.starts_with("[\n    {\n        \"Id\": \"sha256:") && text.ends_with("\n    }\n]"), "{text}");
        let both: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (both.as_array().unwrap().len(), &both[0]["RepoTags"]),
            (2, &serde_json::json!(["base:1", "other/name:2"]))
        );
        // What scripts look for with grep.
        assert_eq!(dock.sh("dock inspect base:1 | grep -c '^        \"Architecture\": \"'").ok(), "1");
        assert_eq!(dock.sh("dock inspect --format json base:1").ok().lines().count(), 1);
    });
}

#[test]
fn ids_and_names_are_removed_as_docker_does() {
    needs!("busybox", "dash");
    in_both(|dock| {
        let id = dock.sh("dock images -q base").ok();
        let several = format!(
            "Error response from daemon: conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories\n"
        );
        assert_eq!(dock.says(&format!("rmi {id}")), (1, String::new(), several));
        dock.sh(&format!("dock tag {} byid", &id[..6])).ok();
        assert_eq!(dock.sh("dock images -q byid").ok(), id);
        assert_eq!(
            dock.says("rmi byid nope"),
            (1, "Untagged: byid:latest\n".into(), "Error response from daemon: No such image: nope:latest\n".into())
        );
        let removed = dock.sh(&format!("dock rmi -f {id}")).ok();
        assert!(removed.starts_with("Untagged: base:1\nUntagged: other/name:2\nDeleted: sha256:"), "{removed}");
        assert_eq!(dock.sh("dock images --format '{{.Repository}}'").ok(), "old");
    });
}

#[test]
fn containers_are_shown_by_template() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let run =
            "dock run --network none --name web -l tier=front -l 'com.x-y=1' base:1 sh -c 'echo data >/file; exit 3'";
        assert_eq!(dock.sh(run).code, 3);
        dock.sh("dock create --name cache --network none -v \"$PWD/t:/t\" base:1 sh").ok();
        for (options, want) in [
            ("--format '{{.Names}} {{.State}} {{.Image}}'", "cache created base:1\nweb exited base:1"),
            ("--filter name=web --format '{{.Label \"tier\"}}{{.Label \"none\"}}'", "front"),
            ("--filter name=^/web$ --format 'table {{.Names}}\\t{{.Label \"com.x-y\"}}'", "NAMES     x y\nweb       1"),
            ("--filter name='^w.b$' --format '{{.Labels}}'", "com.x-y=1,com.x=1,l2=two words,tier=front"),
            ("--filter name=web --format '{{.Command}} {{.Networks}}'", "\"sh -c 'echo data >/…\" none"),
            ("--filter exited=3 --format '{{.Names}}'", "web"),
            ("--filter exited=0 --format '{{.Names}}'", ""),
            ("--filter status=created --filter status=exited --format '{{.Names}}'", "cache\nweb"),
            ("--filter before=cache --format '{{.Names}}'", "web"),
            ("--filter since=web --format '{{.Names}}'", "cache"),
            ("--filter volume=/t --format '{{.Names}}'", "cache"),
            ("--filter network=none --format '{{.Names}}'", "cache\nweb"),
            ("--filter network=host -q", ""),
            ("--filter health=none --format '{{.Names}}'", "cache\nweb"),
            ("--filter is-task=true -q", ""),
            ("--filter publish=80 -q", ""),
            ("--filter name=web --size --format '{{.Size}}'", "5B"),
            ("-n 1 --format '{{.Names}}'", "cache"),
        ] {
            let got = dock.sh(&format!("dock ps -a {options}")).ok();
            let got = if options.contains("Size") { got.split(' ').next().unwrap().to_owned() } else { got };
            assert_eq!(got, want, "{options}");
        }
        let line: Value = serde_json::from_str(&dock.sh("dock ps -a --filter name=web --format json").ok()).unwrap();
        let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        let dockers = [
            "Command",
            "CreatedAt",
            "ID",
            "Image",
            "Labels",
            "LocalVolumes",
            "Mounts",
            "Names",
            "Networks",
            "Ports",
            "RunningFor",
            "Size",
            "State",
            "Status",
        ];
        assert_eq!(keys, dockers);
        let heading = dock.sh("dock ps -as | head -1").ok();
        assert!(heading.ends_with("NAMES     SIZE"), "{heading}");
        let said = "failed to execute template: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext\n";
        assert_eq!(dock.says("ps -a --format '{{.Nope}}'"), (1, String::new(), said.into()));
        assert_eq!(
            dock.sh("dock inspect -f '{{.State.Status}} {{.Name}}' web cache").ok(),
            "exited /web\ncreated /cache"
        );
        let sized = dock.sh("dock inspect -s -f '{{.SizeRw}}' web").ok();
        assert_eq!(sized, "5");
    });
}

/// None keeps the others from their turn.
#[test]
fn what_fails_of_several_is_a_line_each() {
    needs!(root, "busybox", "dash");
    in_both(|dock| {
        let dead = |name: &str| {
            format!("Error response from daemon: Cannot kill container: {name}: No such container: {name}\n")
        };
        assert_eq!(dock.says("kill x y"), (1, String::new(), dead("x") + &dead("y")));
        let none = |what: &str, name: &str| format!("Error response from daemon: No such {what}: {name}\n");
        for command in ["rm", "stop", "wait", "pause"] {
            let said = none("container", "x") + &none("container", "y");
            assert_eq!(dock.says(&format!("{command} x y")), (1, String::new(), said), "{command}");
        }
        assert_eq!(dock.says("rmi x y").2, none("image", "x:latest") + &none("image", "y:latest"));
    });
    let room = Room::new();
    for tool in ["ctr-rm", "ctr-kill", "ctr-wait"] {
        let ran = room.sh(&format!("{tool} x y"));
        assert_eq!(ran.stderr, format!("{tool}: No such container: x\n{tool}: No such container: y\n"));
    }
}
