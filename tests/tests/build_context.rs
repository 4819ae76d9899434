//! Where a build comes from and where it goes: contexts, named contexts, outputs.

use dock_tests::liar::{Liar, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files and links of a directory of the room.
fn files(room: &Room, dir: &str) -> String {
    room.sh(&format!("cd {dir} && find . ! -type d -printf '%P\n' | sort | paste -sd ' '")).ok()
}

#[track_caller]
fn unpacked(room: &Room, image: &str) -> String {
    room.sh(&format!("img-fsck && rm -rf box && img-unpack --flat {image} box")).ok();
    files(room, "box/rootfs")
}

#[test]
fn a_context_on_stdin() {
    needs!(root, "tar", "gzip", "bzip2", "xz", "zstd");
    let room = Room::new();
    for name in ["a", "d/b", "d/ignored", "sub/Other"] {
        room.write(&format!("ctx/{name}"), name);
    }
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY . /\n");
    room.write("ctx/sub/Other", "FROM scratch\nCOPY d /\n");
    room.write("ctx/.dockerignore", "**/ignored\nDockerfile\n.dockerignore\nsub\n");
    room.sh("tar -C ctx -cf c.tar .").ok();
    for pack in ["cat", "gzip -c", "bzip2 -c", "xz -c", "zstd -q -c"] {
        room.sh(&format!("{pack} <c.tar | dfile-build -q -t it -")).ok();
        assert_eq!(unpacked(&room, "it"), "a d/b", "{pack}");
    }
    room.sh("dfile-build -q -t other -f sub/Other - <c.tar").ok();
    assert_eq!(unpacked(&room, "other"), "b");
    room.sh("printf 'FROM scratch\nCOPY <<E /only\nx\nE\n' | dfile-build -q -t bare -").ok();
    assert_eq!(unpacked(&room, "bare"), "only");
    room.sh("printf 'FROM scratch\nCOPY a /\n' | dfile-build -q -").fails(1, "<stdin>:2: COPY: a: not found");
    room.sh("printf 'FROM scratch\nCOPY a /\n' | dfile-build -q -t it -f - ctx").ok();
    assert_eq!(unpacked(&room, "it"), "a");
    room.sh("dfile-build -f - - <c.tar").fails(2, "can't use stdin for both build context and dockerfile");
    room.sh("dfile-build - </dev/null").fails(1, "<stdin>: empty");
    assert_eq!(room.sh("ls root/cache").stdout.matches("build-").count(), 0, "nothing is left");
}

/// The walker of layers unpacks contexts, too.
#[test]
fn a_hostile_context_stays_in_its_place() {
    needs!(root, "tar");
    let room = Room::new();
    room.write("outside", "secret");
    room.sh("mkdir -p t/d && echo FROM scratch >t/Dockerfile && echo 1 >t/d/f").ok();
    room.sh("cd t && tar cPf ../evil.tar --transform 's,^d/f,../../outside,' Dockerfile d/f").ok();
    room.sh("dfile-build -q - <evil.tar").fails(1, "<stdin>: ");
    assert_eq!(room.sh("cat outside").ok(), "secret");
    // A link, and then what is said to be behind it.
    room.sh("mkdir -p victim a/l b && ln -s $PWD/victim b/l && echo evil >a/l/evil && tar -cf through.tar -C t Dockerfile -C ../b l -C ../a l/evil").ok();
    let ran = room.sh("dfile-build -q - <through.tar; ls victim");
    assert!(!ran.stdout.contains("evil"), "{ran:#?}");
    // A Dockerfile that is a link to a file of the machine is looked up inside the context.
    room.sh("cd t && rm Dockerfile && ln -s /etc/hostname Dockerfile && tar cf ../link.tar .").ok();
    room.sh("dfile-build -q - <link.tar").fails(1, "Dockerfile: not found in the context");
    room.sh("cd t && rm Dockerfile && printf 'FROM scratch\nCOPY l /x\n' >Dockerfile && ln -s /etc/hostname l && tar cf ../copy.tar .").ok();
    room.sh("dfile-build -q - <copy.tar").fails(1, "Dockerfile:2: COPY: l: not found");
}

#[test]
fn named_contexts() {
    needs!(root, "jq");
    let room = Room::new();
    room.write("ctx/f", "f");
    room.write("other/g", "g");
    room.write("other/h", "h");
    room.write("other/.dockerignore", "h\n.dockerignore\n");
    room.write("base/Dockerfile", "FROM scratch\nCOPY <<E /of-base\nx\nE\nENV B=1\n");
    room.sh("dfile-build -q -t base -o type=oci,tar=false,dest=lay -t base:1 base && dfile-build -q -t stored base")
        .ok();
    room.write("ctx/Dockerfile", "FROM alpine\nCOPY --from=files g /\nCOPY f /\n");
    let build = |options: &str| room.sh(&format!("dfile-build -q -t it --build-context files=other {options} ctx"));
    for place in ["oci-layout://lay:base", "docker-image://stored"] {
        build(&format!("--build-context alpine={place}")).ok();
        assert_eq!(unpacked(&room, "it"), "f g of-base", "{place}");
        assert_eq!(room.sh("jq -c .config.Env[-1:] box/image.json").ok(), "[\"B=1\"]");
    }
    build("--build-context alpine=oci-layout://lay").fails(1, "holds several images");
    build("--build-context alpine=other").fails(1, "Dockerfile:1: alpine: a directory is no base");
    build("--build-context alpine").fails(2, "want NAME=PLACE");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=files h /\n");
    build("").fails(1, ".dockerignore excludes it");
    room.sh("ls lay/index.json lay/oci-layout && img-fsck lay").ok();
}

#[test]
fn outputs() {
    needs!(root, "tar", "skopeo", "umoci", "podman", "runc");
    let room = Room::new();
    room.write("ctx/f", "f");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY --chown=7:8 --chmod=4750 f /d/\nLABEL a=1\n");
    room.write("old/d/f", "old");
    room.write("old/kept", "kept");
    room.sh("dfile-build -q -o old ctx && dfile-build -q -o - ctx >out.tar && dfile-build -q --output type=tar,dest=file.tar ctx").ok();
    assert_eq!(files(&room, "old"), "d/f kept");
    assert_eq!(room.sh("cat old/d/f; stat -c '%u %a' old/d/f").ok(), "f0 4750");
    assert_eq!(room.sh("tar -tf out.tar | grep -v '/$'; cmp out.tar file.tar && tar -tvf file.tar --numeric-owner d/f | cut -d' ' -f1-2").ok(), "d/f\n-rwsr-x--- 7/8");
    assert_eq!(room.sh("img-ls").ok(), "", "an output is not in the store");
    room.sh(
        "dfile-build -q -t one -o type=oci,dest=o.tar -o type=docker,dest=d.tar -o type=oci,tar=false,dest=lay ctx",
    )
    .ok();
    assert_eq!(room.sh("img-ls").ok(), "");
    let labels = |what: &str| room.sh(&format!("skopeo inspect --config {what} | jq -c .config.Labels")).ok();
    assert_eq!(labels("oci-archive:o.tar"), "{\"a\":\"1\"}");
    assert_eq!(labels("docker-archive:d.tar:docker.io/library/one:latest"), "{\"a\":\"1\"}");
    assert_eq!(labels("oci:lay:docker.io/library/one:latest"), "{\"a\":\"1\"}");
    room.sh("umoci unpack --image lay:docker.io/library/one:latest unpacked").ok();
    assert_eq!(room.sh("stat -c '%u %g %a' unpacked/rootfs/d/f").ok(), "7 8 4750");
    let podman = room.podman();
    for archive in ["o.tar", "d.tar"] {
        room.sh(&format!("{podman} load -q -i {archive}")).ok();
        let labels = format!("{podman} image inspect -f '{{{{.Labels}}}}' one && {podman} rmi -f one >/dev/null");
        assert_eq!(room.sh(&labels).ok(), "map[a:1]", "{archive}");
    }
    let record = room
        .sh("dfile-build -q -t x:1 -t y --label b=2 --label a=0 --iidfile id --metadata-file meta -o type=image,name=z ctx")
        .ok();
    assert_eq!(record.lines().count(), 3, "{record}");
    let meta: Value = serde_json::from_str(&room.sh("cat meta").ok()).unwrap();
    let first: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    assert_eq!(meta["containerimage.digest"], first["descriptor"]["digest"]);
    assert_eq!(meta["containerimage.config.digest"], json!(room.sh("cat id").ok()));
    assert_eq!(meta["image.name"], "docker.io/library/x:1,docker.io/library/y:latest,docker.io/library/z:latest");
    let config: Value = serde_json::from_str(&room.sh("img-inspect z").ok()).unwrap();
    assert_eq!(config["Config"]["Labels"], json!({"a": "0", "b": "2"}));
    assert_eq!(room.sh("img-inspect --history z").ok().matches("LABEL").count(), 1, "only the file's own");
    room.sh("dfile-build -q -o type=local ctx").fails(2, "type=local needs dest=DIR");
    room.sh("dfile-build -q -o /dev/null/x ctx").fails(1, "--output: /dev/null/x");
}

#[test]
fn another_platform() {
    needs!(root);
    let room = Room::new();
    room.write("ctx/Dockerfile", "FROM scratch\nARG TARGETPLATFORM\nARG BUILDOS\nLABEL p=$TARGETPLATFORM/$BUILDOS\n");
    room.sh("dfile-build -q -t it --platform linux/arm64 ctx").ok();
    let shown: Value = serde_json::from_str(&room.sh("img-inspect it").ok()).unwrap();
    assert_eq!(
        (&shown["Architecture"], &shown["Config"]["Labels"]["p"]),
        (&json!("arm64"), &json!("linux/arm64/linux"))
    );
    // What is in the cache of one machine is not the other's.
    room.write("same/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    for platform in ["amd64", "arm64"] {
        room.sh(&format!("dfile-build -q -t it --platform linux/{platform} same")).ok();
        assert_eq!(room.sh("img-inspect --format '{{.Architecture}}' it").ok(), platform);
    }
}

/// git's own server over a directory of bare repositories, for each connection one, as inetd(8) would start it:
/// so the port is the test's own from the first moment on. Its thread ends with the test process.
struct Daemon(u16);

impl Daemon {
    fn start(room: &Room) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = format!("--base-path={}", room.path("served").display());
        let program = format!("{}/git-daemon", room.sh("git --exec-path").ok());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let end = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
                let mut daemon = Command::new(&program);
                daemon.args(["--inetd", "--export-all", &base]).stdin(end()).stdout(end()).stderr(Stdio::null());
                let _ = daemon.status();
            }
        });
        Self(port)
    }

    fn url(&self) -> String {
        format!("git://127.0.0.1:{}/r.git", self.0)
    }
}

#[test]
fn git_contexts_and_git_sources() {
    needs!(root, "git");
    let room = Room::new();
    room.sh(
        "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE='2001-09-09T01:46:40Z' GIT_COMMITTER_DATE='2001-09-09T01:46:40Z'
         git init -q -b main w && cd w && git config user.email a@b && git config user.name n
         mkdir -p sub && echo one >f && printf 'FROM scratch\nCOPY f /\n' >Dockerfile && printf 'FROM scratch\nCOPY x /\n' >sub/Dockerfile && echo x >sub/x
         ln -s .. up; ln -s /etc abs; git add . && git commit -q -m 1 && git tag v1 && git rev-parse HEAD >../first
         echo two >f && git commit -q -a -m 2 && git clone -q --bare . ../served/r.git",
    )
    .ok();
    let daemon = Daemon::start(&room);
    let url = daemon.url();
    let first = room.sh("cat first").ok();
    for (fragment, file, content) in [
        (String::new(), "f", "two"),
        ("#v1".into(), "f", "one"),
        ("#main:sub".into(), "x", "x"),
        (format!("#{first}"), "f", "one"),
        ("#:/sub/".into(), "x", "x"),
    ] {
        room.sh(&format!("dfile-build -q -t it '{url}{fragment}'")).ok();
        assert_eq!(unpacked(&room, "it"), file, "{fragment}");
        assert_eq!(room.sh(&format!("cat box/rootfs/{file}")).ok(), content);
    }
    room.sh(&format!("printf 'FROM scratch\nCOPY .git/HEAD /\n' | dfile-build -q -f - --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1 {url}"))
        .ok();
    // The same commit is the same image, whenever it is fetched.
    let digest = || room.sh(&format!("dfile-build -q --no-cache {url} | jq -r .descriptor.digest")).ok();
    let one = digest();
    room.sh("sleep 1.1").ok();
    assert_eq!(digest(), one);
    assert_eq!(
        room.sh(&format!("dfile-build -q -t it {url} && img-inspect it | jq -r .Created")).ok().lines().last(),
        Some("2001-09-09T01:46:40Z")
    );
    // CVE-2026-33748: the subdirectory is a link out of the repository.
    for (fragment, part) in [
        ("#:up", "up: "),
        ("#:abs", "abs: "),
        ("#:../..", "../..: "),
        ("#nope", "nope: no such"),
        ("#--upload-pack=x", "not a reference"),
    ] {
        room.sh(&format!("dfile-build -q '{url}{fragment}'")).fails(1, part);
    }
    let add = |flags: &str, fragment: &str| {
        room.write("ctx/Dockerfile", format!("FROM scratch\nADD {flags} {url}{fragment} /r\n"));
        room.sh("dfile-build -q -t it ctx")
    };
    add("--exclude=sub --chown=5", "#v1").ok();
    assert_eq!(unpacked(&room, "it"), "r/Dockerfile r/abs r/f r/up");
    assert_eq!(room.sh("stat -c '%u %Y' box/rootfs/r/f").ok(), "5 1000000000");
    add("--keep-git-dir", ":sub").fails(1, "git ");
    add("--keep-git-dir --checksum=abcdef0", "").fails(1, "--checksum=abcdef0: the commit is ");
    add(&format!("--keep-git-dir --checksum={first}"), "#v1").ok();
    assert!(unpacked(&room, "it").contains("r/.git/HEAD"));
}

/// Reference, "ADD": a file of mode 600 with the name from the URL and the time of Last-Modified.
#[test]
fn files_from_the_web() {
    needs!(root, "tar", "gzip");
    let room = Room::new();
    room.write("t/x", "x");
    room.write("t/Dockerfile", "FROM scratch\nCOPY x /\n");
    room.sh("tar -C t -czf t.tgz .").ok();
    let archive = std::fs::read(room.path("t.tgz")).unwrap();
    let server = Liar::start(move |head, _| {
        let time = [("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT")];
        match head.split(' ').nth(1).unwrap() {
            "/d/hello?q=1" => reply("200 OK", &time, b"hello"),
            "/t.tgz" => reply("200 OK", &time, &archive),
            "/moved" => reply("302 Found", &[("Location", "d/hello?q=1")], b""),
            "/round" => reply("302 Found", &[("Location", "/round")], b""),
            "/file" => reply("302 Found", &[("Location", "file:///etc/passwd")], b""),
            "/dockerfile" => reply("200 OK", &[], b"FROM scratch\nLABEL from=web\n"),
            _ => reply("404 Not Found", &[], b"no"),
        }
    });
    let at = |path: &str| format!("http://{}{path}", server.host());
    let build = |line: &str| {
        room.write("ctx/Dockerfile", format!("FROM scratch\n{line}\n"));
        room.sh("dfile-build -q -t it ctx")
    };
    let sum = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    build(&format!("ADD --checksum={sum} {} /d/", at("/d/hello?q=1"))).ok();
    assert_eq!(unpacked(&room, "it"), "d/hello");
    assert_eq!(
        room.sh("cat box/rootfs/d/hello; stat -c ' %a %u %Y' box/rootfs/d/hello").ok(),
        "hello 600 0 1000000000"
    );
    build(&format!("ADD --chmod=644 --chown=9 {} /y", at("/moved"))).ok();
    assert_eq!(unpacked(&room, "it"), "y");
    assert_eq!(room.sh("cat box/rootfs/y; stat -c ' %a %u' box/rootfs/y").ok(), "hello 644 9");
    for (flags, want) in [("", "a/t.tgz"), ("--unpack=true", "a/Dockerfile a/x")] {
        build(&format!("ADD {flags} {} /a/", at("/t.tgz"))).ok();
        assert_eq!(unpacked(&room, "it"), want);
    }
    for (line, part) in [
        (
            format!("ADD --checksum={} {} /d", sum.replace("b2ac", "b3ac"), at("/d/hello?q=1")),
            "the content is sha256:2cf24dba",
        ),
        (format!("ADD {} /d", at("/none")), "404 Not Found"),
        (format!("ADD {} /d", at("/round")), "more than 10 redirects"),
        (format!("ADD {} /d", at("/file")), "no web address"),
        (format!("ADD --checksum={sum} Dockerfile /d"), "is for sources from the network"),
    ] {
        build(&line).fails(1, part);
    }
    room.sh(&format!("dfile-build -q -t it {}", at("/t.tgz"))).ok();
    assert_eq!(unpacked(&room, "it"), "x");
    room.sh(&format!("dfile-build -q -t it {} && img-inspect it | grep -q web", at("/dockerfile"))).ok();
    assert_eq!(room.sh(&format!("url-get -o got {} && cat got", at("/moved"))).ok().lines().last(), Some("hello"));
    room.sh("url-get -o got file:///etc/passwd").fails(2, "want http:// or https://");
}

/// A URL that has nothing new is asked about and not sent again; with a checksum nobody is asked.
#[test]
fn a_url_that_has_not_changed_is_not_sent_again() {
    needs!(root);
    const DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    let room = Room::new();
    room.sh("mkdir ctx").ok();
    let newer = Arc::new(AtomicBool::new(false));
    let is_newer = Arc::clone(&newer);
    let server = Liar::start(move |head, _| {
        let asks = |condition: &str| head.to_ascii_lowercase().contains(&condition.to_ascii_lowercase());
        let (tag, body) = if is_newer.load(Ordering::Relaxed) { ("\"two\"", "second") } else { ("\"one\"", "first") };
        match head.split(' ').nth(1).unwrap_or_default() {
            "/tagged" if asks(&format!("If-None-Match: {tag}")) => reply("304 Not Modified", &[], b""),
            "/tagged" => reply("200 OK", &[("ETag", tag)], body.as_bytes()),
            "/dated" if asks(&format!("If-Modified-Since: {DATE}")) => reply("304 Not Modified", &[], b""),
            "/dated" => reply("200 OK", &[("Last-Modified", DATE)], b"dated"),
            "/moved" => reply("302 Found", &[("Location", "/tagged")], b""),
            // A server that says so without having been asked.
            _ => reply("304 Not Modified", &[], b""),
        }
    });
    let build = |path: &str, options: &str| {
        let text = format!("FROM scratch\nADD {options} http://{}{path} /f\n", server.host());
        room.write("ctx/Dockerfile", text);
        let ran = room.sh("dfile-build -t it ctx && img-unpack --flat it box && cat box/rootfs/f && rm -rf box");
        assert_eq!(ran.code, 0, "{ran:?}");
        let body = ran.stdout.lines().last().unwrap_or_default().to_owned();
        (body, ran.stderr.matches("DONE").count())
    };
    let whole =
        |path: &str| server.seen().iter().filter(|head| head.contains(path) && !head.contains("\r\nif-")).count();
    for (path, body) in [("/tagged", "first"), ("/dated", "dated"), ("/moved", "first")] {
        assert_eq!(build(path, ""), (body.to_owned(), 1), "{path}");
        assert_eq!(build(path, ""), (body.to_owned(), 0), "{path}");
        assert_eq!(whole(path), 1, "{path}: {:?}", server.seen());
        // Another step of it needs the bytes: they are fetched.
        assert_eq!(build(path, "--chmod=644"), (body.to_owned(), 1), "{path}");
    }
    newer.store(true, Ordering::Relaxed);
    assert_eq!(build("/tagged", ""), ("second".into(), 1));
    newer.store(false, Ordering::Relaxed);
    assert_eq!(build("/tagged", ""), ("first".into(), 0), "the old content has its old image");
    let asked = server.seen().len();
    let sum = "--checksum=sha256:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
    assert_eq!(build("/tagged", sum), ("first".into(), 0));
    assert_eq!(server.seen().len(), asked, "a checksum says all");
    room.sh(&format!("dfile-build -q - <<E\nFROM scratch\nADD http://{}/liar /f\nE", server.host())).fails(1, "304");
    // What is remembered of another URL is of no use.
    let line = r#"{"url":"http://other/","digest":"sha256:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e","etag":"\"one\""}"#;
    room.write("line", line);
    let known = |filter: &str| room.sh(&format!("dfile-cache --filter type=source.http {filter}")).ok();
    let urls = known("--format '{{.Description}} {{.Bytes}}' | sort");
    assert_eq!(urls.lines().count(), 3, "{urls}");
    let size = room.sh("cat root/cache/urls/* | wc -c").ok();
    assert_eq!(room.sh("dfile-cache --filter type=source.http | jq -s 'map(.size) | add'").ok(), size);
    assert!(urls.starts_with(&format!("http://{}/dated ", server.host())), "{urls}");
    // One that is used again is young again.
    room.sh("touch -d @1000000000 root/cache/urls/*").ok();
    assert_eq!(build("/dated", ""), ("dated".into(), 0));
    room.sh("dock builder prune -f --filter type=source.http --filter until=24h").ok();
    assert_eq!(known("--format '{{.Description}}'"), format!("http://{}/dated", server.host()));
    // Half a line of a build that was killed goes too, unless somebody writes.
    room.write("root/cache/urls/.tmpX", "half");
    room.sh("flock -s root/cache/urls dock builder prune -af && ls -A root/cache/urls >left").ok();
    assert_eq!(room.sh("cat left; dock builder prune -af >/dev/null; ls -A root/cache/urls").ok(), ".tmpX");
    room.sh(&format!("url-get --known line -o got http://{}/tagged && cat got", server.host())).ok();
    assert!(!server.seen().last().unwrap().contains("if-none-match"), "{:?}", server.seen().last());
}

/// The authority of a network of one's own, by `SSL_CERT_FILE`; without it the server is nobody we know.
#[test]
fn a_url_over_https_with_a_private_authority() {
    needs!(root, "openssl", "docker-registry");
    let room = Room::new();
    // A registry answers to https://HOST/v2/ with a file as good as any: {}.
    let server = room.registry_of_own_authority();
    let text = format!("FROM scratch\nADD https://{}/v2/ /f\n", server.host());
    room.sh("mkdir ctx").ok();
    room.write("ctx/Dockerfile", text);
    room.sh("SSL_CERT_FILE=$PWD/ca.pem dfile-build -q -t it ctx").ok();
    assert_eq!(unpacked(&room, "it"), "f");
    assert_eq!(room.sh("cat box/rootfs/f").ok(), "{}");
    room.sh("dfile-build -q --no-cache ctx").fails(1, "UnknownIssuer");
    room.sh(&format!("url-get -o got https://{}/v2/ 2>&1; [ ! -e got ]", server.host())).ok();
}

/// Straight to a registry, and what skopeo finds there; an annotation does not change the image ID.
#[test]
fn outputs_to_a_registry() {
    needs!(root, "skopeo", "docker-registry", "jq");
    let room = Room::new();
    let registry = Registry::start();
    let host = registry.host();
    room.write("ctx/f", "f");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY f /\n");
    let raw = |name: &str, filter: &str| {
        room.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{host}/{name} | jq -c '{filter}'")).ok()
    };
    room.sh("dfile-build -q --iidfile plain ctx").ok();
    let options = "--annotation b=2 --annotation manifest:a=1=1 --iidfile id --metadata-file meta";
    room.sh(&format!("dfile-build -q -t {host}/app:1 --push {options} ctx")).ok();
    assert_eq!(raw("app:1", ".annotations"), r#"{"a":"1=1","b":"2"}"#);
    assert_eq!(room.sh("cmp plain id && cat id").ok(), raw("app:1", ".config.digest").trim_matches('"'));
    let digest = room.sh("jq -r '.\"containerimage.digest\"' meta").ok();
    assert_eq!(
        room.sh(&format!("img-pull --raw {host}/app:1 | sha256sum | cut -d' ' -f1")).ok(),
        digest["sha256:".len()..]
    );
    room.sh(&format!("dfile-build -q -o type=image,name={host}/app:2,push=true ctx")).ok();
    room.sh(&format!("dfile-build -q -o type=registry,name={host}/app:3 ctx")).ok();
    room.sh("dfile-build -q --load -t kept ctx && img-inspect kept").ok();
    assert_eq!((raw("app:2", ".annotations"), raw("app:3", ".layers | length")), ("null".into(), "1".into()));
    room.sh("dfile-build -q --annotation index:a=b ctx")
        .fails(1, "index annotations not supported for single platform export");
    room.sh("dfile-build -q --annotation a ctx").fails(2, "want KEY=VALUE");
    room.sh("img-fsck").ok();
}

/// An index of images; what is not of this machine needs no emulator as long as nothing runs.
#[test]
fn several_platforms_are_one_name() {
    needs!(root, "skopeo", "docker-registry", "jq", "busybox");
    let room = Room::new();
    let registry = Registry::start();
    let host = registry.host();
    room.sh("mkdir ctx && cp $(command -v busybox) ctx/sh && echo mine >ctx/amd64 && echo other >ctx/s390x").ok();
    room.write(
        "ctx/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /f\nCOPY sh /bin/sh\nLABEL arch=$TARGETARCH\n",
    );
    let both = "--platform linux/amd64,linux/s390x,linux/amd64";
    room.sh(&format!("dfile-build -q -t {host}/two:1 --push {both} --annotation index:a=b --metadata-file meta ctx"))
        .ok();
    let raw = room.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{host}/two:1")).ok();
    let index: Value = serde_json::from_str(&raw).unwrap();
    let platforms: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!((platforms, &index["annotations"]["a"]), (vec![&json!("amd64"), &json!("s390x")], &json!("b")));
    let arch = |from: &str, arch: &str| {
        room.sh(&format!("skopeo --override-arch {arch} inspect --config --tls-verify=false {from} | jq -r '[.architecture, .config.Labels.arch] | join(\" \")'")).ok()
    };
    assert_eq!(arch(&format!("docker://{host}/two:1"), "s390x"), "s390x s390x");
    room.sh(&format!("img-fsck && img-unpack --flat --platform linux/s390x {host}/two:1 box")).ok();
    assert_eq!(room.sh("cat box/rootfs/f").ok(), "other");
    room.sh(&format!(
        "dfile-build -q -t two {both} -o out -o type=oci,dest=two.tar -o type=oci,tar=false,dest=lay ctx"
    ))
    .ok();
    assert_eq!(room.sh("cat out/linux_amd64/f out/linux_s390x/f").ok(), "mine\nother");
    room.sh("tar -xOf two.tar index.json | jq -e '.manifests | length == 1' && img-fsck lay").ok();
    assert_eq!(arch("oci:lay:docker.io/library/two:latest", "s390x"), "s390x s390x");
    room.sh(&format!("dfile-build -q {both} -o type=docker,dest=x ctx"))
        .fails(2, "docker exporter does not currently support exporting manifest lists");
    // A base of another machine does not take the name, and is asked for once.
    room.write("ctx/Dockerfile", format!("FROM {host}/two:1\nCOPY amd64 /g\n"));
    let build = |room: &Room, options: &str| room.sh(&format!("dfile-build {options} ctx"));
    room.sh(&format!("img-rm -f {host}/two:1")).ok();
    build(&room, "--platform linux/s390x -t g").ok();
    assert_eq!(room.sh("img-inspect --format '{{.Architecture}}' g").ok(), "s390x");
    room.sh(&format!("img-inspect {host}/two:1")).fails(1, "two:1");
    build(&room, "").ok();
    assert_eq!(room.sh(&format!("img-inspect --format '{{{{.Architecture}}}}' {host}/two:1")).ok(), "amd64");
    drop(registry);
    build(&room, "--platform linux/s390x").ok();
    room.write("ctx/Dockerfile", format!("FROM {host}/two:1\nRUN true\n"));
    build(&room, "-q").ok();
    room.sh("img-fsck").ok();
}
