//! One archive, loaded by docker's daemon and here: image inspect, history and images show the same, member by
//! member, and templates print the same.

use dock_tests::{Room, dockerd::Dockerd, needs, top};
use serde_json::Value;
use std::collections::BTreeSet;

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A daemon and a store of ours with the same three images: app, team/app:1 (the same one), app:later.
struct Both {
    room: Room,
    docker: Dockerd,
}

impl Both {
    fn new() -> Option<Self> {
        let room = Room::new();
        let docker = Dockerd::start(&room)?;
        room.sh("mkdir -p t/bin && cp \"$(command -v busybox)\" t/bin/busybox && ln -s busybox t/bin/sh && tar -C t -cf t.tar . \
            && img-append --base scratch --layer t.tar --created 2020-01-02T03:04:05.6Z --author 'A <a@example.org>' -m 'the base' \
               -c 'CMD [\"sh\",\"-c\",\"echo <hi> & bye\"]' -c 'ENV A=b C=\"d e\"' -c 'LABEL com.x=1 l2=\"two words\"' \
               -c 'EXPOSE 80 443/udp' -c 'VOLUME /data' -c 'USER 1:2' -c 'WORKDIR /w' -c 'STOPSIGNAL SIGINT' \
               -c 'HEALTHCHECK --interval=3s CMD true' -t team/app:1 \
            && img-tag team/app:1 app && img-append --base app --created 2021-01-02T03:04:05Z -c 'ENTRYPOINT [\"sh\"]' -t app:later \
            && img-save -o all.tar app team/app:1 app:later")
            .ok();
        docker.docker(&["load", "-i", &room.path("all.tar").display().to_string()]).unwrap();
        Some(Self { room, docker })
    }

    /// stdout, or stderr when it fails, as `Dockerd::docker` gives them.
    fn dock(&self, words: &[&str]) -> Result<String, String> {
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let ran = self.room.sh(&format!("dash {} {}", top().join("tools/dock/dock").display(), quoted.join(" ")));
        if ran.code == 0 { Ok(ran.stdout.trim_end().to_owned()) } else { Err(ran.stderr.trim_end().to_owned()) }
    }

    /// What dock and docker print.
    #[track_caller]
    fn both(&self, words: &[&str]) -> (String, String) {
        let (ours, theirs) = (self.dock(words), self.docker.docker(words));
        (ours.unwrap_or_else(|e| panic!("{words:?}: {e}")), theirs.unwrap_or_else(|e| panic!("{words:?}: {e}")))
    }
}

#[test]
fn an_image_looks_as_in_docker() {
    needs!(root, "busybox", "dash", "dockerd", "docker");
    let Some(all) = Both::new() else { return };
    let (dock, docker) = (|words: &[&str]| all.dock(words), &all.docker);
    let both = |words: &[&str]| all.both(words);

    for name in ["app", "app:later"] {
        let (ours, theirs) = both(&["image", "inspect", name]);
        let (ours, theirs) = (&value(&ours)[0], &value(&theirs)[0]);
        let missing: Vec<_> = keys(theirs).difference(&keys(ours)).map(|key| (*key).to_owned()).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        // Of layers, docker counts what they unpack to; a digest names what a registry would have.
        let own = ["Size", "VirtualSize", "RepoDigests", "GraphDriver", "Metadata", "RepoTags"];
        for key in keys(theirs).into_iter().filter(|key| !own.contains(key)) {
            assert_eq!(ours[key], theirs[key], "{name}: {key}");
        }
        let tags = |value: &Value| {
            value["RepoTags"].as_array().unwrap().iter().map(ToString::to_string).collect::<BTreeSet<_>>()
        };
        assert_eq!(tags(ours), tags(theirs));
        let order = |value: &Value| value["Config"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(order(ours), order(theirs), "{name}: the members of Config in their order");
    }

    for template in [
        "{{.Id}} {{.Os}}/{{.Architecture}} {{.Author}} {{.Created}} {{.Comment}}",
        "{{.Config.Env}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Labels}} {{.Config.Volumes}}",
        "{{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Entrypoint}} {{json .Config.OnBuild}}",
        "{{json .Config.ExposedPorts}} {{json .RootFS}} {{json .Config.Healthcheck}}",
        "{{range $name, $value := .Config.Labels}}{{$name}}={{$value}},{{end}}",
        "{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}",
        "{{index .Config.Labels \"com.x\"}}|{{index .Config.Labels \"none\"}}|{{.Config.Labels.none}}",
        "{{join .Config.Cmd \" \"}} {{len .Config.Env}} {{.Config.User | printf \"%q\"}} {{upper .Os}}",
        "{{with .Config}}{{.WorkingDir}}{{end}} {{if eq .Os \"linux\" \"windows\"}}known{{else}}other{{end}}",
        "{{range .Config.Entrypoint}}{{.}}{{else}}none{{end}} {{not .Config.OnBuild}} {{slice .Id 7 19}}",
    ] {
        let (ours, theirs) = both(&["image", "inspect", "--format", template, "app", "app:later"]);
        assert_eq!(ours, theirs, "{template}");
    }
    for template in [
        "{{",
        "{{foo .Id}}",
        "{{$x}}",
        "{{.Nope}}",
        "{{.Config.Nope}}",
        "{{.Size.Foo}}",
        "{{index .RepoTags 9}}",
        "{{upper .RepoTags}}",
        "{{join .RepoTags}}",
    ] {
        let words = ["image", "inspect", "-f", template, "app"];
        assert_eq!(dock(&words).unwrap_err(), docker.docker(&words).unwrap_err(), "{template}");
    }

    for name in ["app", "app:later"] {
        let (ours, theirs) = both(&["history", "--no-trunc", "--format", "{{json .}}", name]);
        for (ours, theirs) in ours.lines().zip(theirs.lines()).map(|(a, b)| (value(a), value(b))) {
            for key in ["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID"] {
                assert_eq!(ours[key], theirs[key], "history of {name}: {key}");
            }
            assert_eq!((keys(&ours), ours["Size"] == "0B"), (keys(&theirs), theirs["Size"] == "0B"));
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());
        let (ours, theirs) =
            both(&["history", "--human=false", "--format", "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}", name]);
        assert_eq!(ours, theirs);
        let (ours, theirs) = both(&["history", "-q", name]);
        assert_eq!(ours, theirs);
    }

    let sorted = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    for words in [
        &["images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.CreatedAt}} {{.CreatedSince}} {{.Containers}}"][..],
        &["images", "--format", "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}", "app"],
        &["images", "-q", "--no-trunc"],
        &["images", "-q", "--filter", "before=app:later"],
        &["images", "-q", "--filter", "since=app"],
        &["images", "-q", "--filter", "label=l2=two words"],
        &["images", "-q", "--filter", "reference=a*:l*"],
        &["images", "-q", "--filter", "reference=team/*"],
        &["images", "-q", "--filter", "dangling=true"],
        &["images", "team/app:1", "-q"],
        &["images", "--format", "{{.Tag}}", "app"],
    ] {
        let (ours, theirs) = both(words);
        assert_eq!(sorted(ours), sorted(theirs), "{words:?}");
    }
    let (ours, theirs) = both(&["images", "--format", "{{json .}}", "team/app"]);
    assert_eq!(keys(&value(&ours)), keys(&value(&theirs)));

    // IDs and unique starts of one, with and without the algorithm, in every place of a name.
    let id = dock(&["images", "-q", "--no-trunc", "app:later"]).unwrap();
    for operand in [&id[..], &id[7..], &id[7..19], &id[..19], &id[7..12]] {
        let (ours, theirs) = both(&["image", "inspect", "-f", "{{.Id}}", operand]);
        assert_eq!((ours.as_str(), theirs.as_str()), (id.as_str(), id.as_str()), "{operand}");
        let (ours, theirs) = both(&["tag", operand, "byid:1"]);
        assert_eq!(ours, theirs);
    }
    let words = ["rmi", &id[7..19]];
    assert_eq!(dock(&words).unwrap_err(), docker.docker(&words).unwrap_err(), "two names");
    for words in [
        &["rmi", "byid:1"][..],
        &["rmi", "app:later"],
        &["tag", "app", "x/y:z"],
        &["rmi", "-f", "app", "team/app:1", "x/y:z"],
    ] {
        let (ours, theirs) = both(words);
        let untagged =
            |text: &str| text.lines().filter(|line| !line.contains('@')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(untagged(&ours), untagged(&theirs), "{words:?}");
    }
    assert_eq!(dock(&["images", "-q"]).unwrap(), "");
    for words in [
        &["tag", "app", "x"][..],
        &["history", "app"],
        &["tag", "x", "a:b:c"],
        &["inspect", "--type", "image"],
        &["images", "-f", "a=b"],
        &["images", "-x"],
    ] {
        let (ours, theirs) = (dock(words).unwrap_err(), docker.docker(words).unwrap_err());
        // Newer clients say where to read more in other words.
        let first = |text: &str| {
            text.lines()
                .find(|line| !line.is_empty())
                .unwrap_or_default()
                .replace("\"docker ", "\"dock ")
                .replace("docker: 'docker ", "\"dock ")
                .replace("' requires", "\" requires")
                .trim_end_matches('.')
                .to_owned()
        };
        assert_eq!(first(&ours), first(&theirs), "{words:?}");
    }
}

/// Containers that were only created: what they are called, shown as and found by.
#[test]
fn a_container_is_listed_as_in_docker() {
    needs!(root, "busybox", "dash", "dockerd", "docker");
    let Some(all) = Both::new() else { return };
    let bind = format!("{}:/in", all.room.path("t").display());
    for (name, options, command) in [
        ("web", &["-l", "tier=front", "-l", "com.x-y=1", "-v", "named:/v", "-v", &bind][..], &["-c", "exit 3"][..]),
        ("cache", &["-l", "tier=back"], &["-c", "a much longer command line"]),
    ] {
        let words = [&["create", "--name", name, "--network", "none"], options, &["app:later"], command].concat();
        all.both(&words);
    }
    for template in [
        "{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}} {{.Ports}} {{.Networks}}",
        "{{.Names}} {{.Label \"tier\"}} {{.Label \"none\"}} {{.Label \"l2\"}}",
        "table {{.Names}}\\t{{.Label \"com.x-y\"}}\\t{{.Image}}",
        "table {{.Names}}\\t{{upper .State}}",
        "{{.Names}} {{json .Command}} {{printf \"%-9s|\" .Names}} {{if eq .State \"created\"}}new{{end}}",
    ] {
        let (ours, theirs) = all.both(&["ps", "-a", "--format", template]);
        assert_eq!(ours, theirs, "{template}");
    }
    let row = |words: &[&str]| {
        let (ours, theirs) = all.both(words);
        (value(&ours), value(&theirs))
    };
    let (ours, theirs) = row(&["ps", "-a", "--filter", "name=web", "--format", "{{json .}}"]);
    for key in ["Command", "Image", "LocalVolumes", "Names", "Networks", "Ports", "State", "Status"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    let labels =
        |value: &Value| value["Labels"].as_str().unwrap().split(',').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(labels(&ours), labels(&theirs));
    // A newer client adds a member for the platform.
    assert!(keys(&ours).is_subset(&keys(&theirs)), "{ours} {theirs}");
    for filter in [
        "name=web",
        "name=^/web$",
        "name=e",
        "name=^e",
        "name=(web|cache)$",
        "label=tier",
        "label=tier=back",
        "label=none",
        "status=created",
        "status=running",
        "ancestor=app:later",
        "ancestor=app",
        "before=cache",
        "since=web",
        "volume=named",
        "volume=/v",
        "volume=nothing",
        "health=none",
        "health=healthy",
        "is-task=true",
        "network=none",
        "network=host",
        "publish=80",
        "exited=0",
        "id=zz",
    ] {
        let (ours, theirs) = all.both(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
        assert_eq!(ours, theirs, "{filter}");
        let (ours, theirs) = all.both(&["ps", "--filter", filter, "--format", "{{.Names}}"]);
        assert_eq!(ours, theirs, "{filter}, without -a");
    }
    let (ours, theirs) = all.both(&[
        "ps",
        "-a",
        "-f",
        "label=tier",
        "-f",
        "label=com.x-y=1",
        "-f",
        "name=web",
        "-f",
        "name=cache",
        "--format",
        "{{.Names}}",
    ]);
    assert_eq!(ours, theirs);
    for filter in ["foo=bar", "status=foo", "exited=foo", "health=maybe"] {
        let words = ["ps", "-a", "--filter", filter];
        let ours = all.dock(&words).unwrap_err();
        let ours = ours.lines().find(|line| !line.starts_with("hint: ")).unwrap_or_default();
        assert_eq!(ours, all.docker.docker(&words).unwrap_err(), "{filter}");
    }
    // What scripts ask of the machine: no member that docker has not, and where both can know it, the same.
    let (ours, theirs) = row(&["info", "--format", "json"]);
    assert!(keys(&ours).is_subset(&keys(&theirs)), "{ours} {theirs}");
    let same = "OSType Architecture NCPU MemTotal KernelVersion OSVersion Name CgroupVersion Containers ContainersRunning \
        MemoryLimit SwapLimit CpuCfsQuota PidsLimit Swarm LoggingDriver Labels HttpProxy Warnings";
    for key in same.split_whitespace() {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    let (ours, theirs) =
        all.both(&["version", "-f", "{{.Server.Os}}/{{.Server.Arch}} {{.Server.KernelVersion}} {{.Client.Os}}"]);
    assert_eq!(ours, theirs);
    for template in ["{{", "{{.Nope}}", "{{foo}}"] {
        let words = ["ps", "-a", "--format", template];
        assert_eq!(all.dock(&words).unwrap_err(), all.docker.docker(&words).unwrap_err(), "{template}");
    }
}
