//! ADD of a URL: what is asked for again, and whom it trusts.

use super::unpacked;
use dock_tests::liar::{Liar, reply};
use dock_tests::{Room, needs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
