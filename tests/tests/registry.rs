//! What stands between a tool and a registry: certificates, proxies, credentials, tokens, and lines that hang.

use dock_tests::liar::{DRIP, HOLD, Honest, Liar, reply};
use dock_tests::proxy::Proxy;
use dock_tests::registry::Registry;
use dock_tests::tokens::Tokens;
use dock_tests::{Room, needs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A layout `l` with one small image called `made`.
fn made(room: &Room) {
    room.sh("mkdir t && echo x >t/x && tar -C t -cf t.tar . && img-append --layout l --base scratch --layer t.tar --tag made").ok();
}

/// An authority `ca.pem`, a server's `r.pem` with `r.key`, and a client's `c.pem` with `c.key`.
fn certificates(room: &Room) {
    room.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
             -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
         for who in r c; do
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=name-of-$who -keyout $who.key -out $who.csr
             printf 'subjectAltName=IP:127.0.0.1,DNS:registry.test' >san
             openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out $who.pem
         done 2>/dev/null",
    )
    .ok();
}

/// `/etc/docker/certs.d` as docker lays it out: an authority of one host, and who we are there, and nowhere else.
#[test]
fn certs_d_has_authorities_and_a_client_certificate() {
    needs!("docker-registry", "openssl", "curl");
    let room = Room::new();
    certificates(&room);
    made(&room);
    let file = |name: &str| room.path(name).display().to_string();
    let tls =
        format!(", tls: {{certificate: {}, key: {}, clientcas: [{}]}}", file("r.pem"), file("r.key"), file("ca.pem"));
    let registry = Registry::with(&tls, "");
    let host = registry.host();
    let push = format!("DOCK_CERTS=certs img-push --layout l --to {host}/app:1 made");
    room.sh(&push).fails(1, "UnknownIssuer");
    room.sh(&format!("mkdir -p certs/{host} && cp ca.pem certs/{host}/ca.crt")).ok();
    // The authority is known now, and we are not.
    let ran = room.sh(&push);
    assert!(ran.code == 1 && !ran.stderr.contains("UnknownIssuer"), "{ran:#?}");
    room.sh(&format!("cp c.key certs/{host}/client.key")).ok();
    room.sh(&push).fails(1, "client.key: a key without its .cert");
    room.sh(&format!("cp c.pem certs/{host}/client.cert")).ok();
    room.sh(&push).ok();
    room.sh(&format!("DOCK_CERTS=certs img-pull --layout back {host}/app:1 && diff -r l/blobs back/blobs")).ok();
    room.sh(&format!("echo nothing >certs/{host}/more.crt; {push}")).fails(1, "no certificate in the file");
    room.sh(&format!("rm certs/{host}/more.crt; echo nothing >certs/{host}/client.key; {push}"))
        .fails(1, "no private key");
}

/// Our certificate is a credential: where a registry sends us, it does not go.
#[test]
fn a_client_certificate_stays_at_its_origin() {
    needs!("docker-registry", "openssl", "curl");
    let room = Room::new();
    certificates(&room);
    // Lives until the room ends it; the kernel chooses its port and it says which.
    let started = room.sh(
        "openssl s_server -accept 127.0.0.1:0 -cert r.pem -key r.key -CAfile ca.pem -verify 1 -www >log 2>&1 & echo $!
         n=0; until grep -q '^ACCEPT 127.0.0.1:[0-9]*$' log || [ $n -gt 1000 ]; do sleep 0.05; n=$((n+1)); done
         sed -n 's/^ACCEPT .*://p' log",
    );
    let started = started.ok();
    let (pid, port) = started.split_once('\n').unwrap();
    let file = |name: &str| room.path(name).display().to_string();
    let tls =
        format!(", tls: {{certificate: {}, key: {}, clientcas: [{}]}}", file("r.pem"), file("r.key"), file("ca.pem"));
    let realm = format!(
        "auth: {{token: {{realm: 'https://127.0.0.1:{port}/token', service: s, issuer: i, rootcertbundle: {}}}}}",
        file("ca.pem")
    );
    let registry = Registry::with(&tls, &realm);
    let host = registry.host();
    let said = room.sh(&format!(
        "mkdir -p certs/{host} && cp ca.pem certs/{host}/ca.crt && cp c.pem certs/{host}/c.cert && cp c.key certs/{host}/c.key
         curl -sk https://127.0.0.1:{port}/ >/dev/null
         DOCK_CERTS=certs img-pull --layout l {host}/app:1
         cp log after
         curl -s --cacert ca.pem --cert c.pem --key c.key https://127.0.0.1:{port}/ >/dev/null
         kill {pid}"
    ));
    assert!(said.stderr.contains(&format!("token from https://127.0.0.1:{port}/token")), "we were there: {said:#?}");
    let log = |name: &str| std::fs::read_to_string(room.path(name)).unwrap();
    assert!(log("log").contains("name-of-c"), "the server says who comes with a certificate: {}", log("log"));
    assert!(!log("after").contains("name-of-c"), "{}", log("after"));
}

/// The variables of the environment as docker reads them. The names exist only behind the proxy.
#[test]
fn proxies_of_the_environment() {
    needs!("docker-registry", "openssl");
    let room = Room::new();
    certificates(&room);
    made(&room);
    let plain = Registry::start();
    let tls = Registry::with(
        &format!(", tls: {{certificate: {}, key: {}}}", room.path("r.pem").display(), room.path("r.key").display()),
        "",
    );
    let (http, https) = (Proxy::to(plain.host()), Proxy::to(tls.host()));
    let proxies = format!(
        "export HTTP_PROXY=http://user:word@{} https_proxy={} SSL_CERT_FILE=ca.pem;",
        http.host(),
        https.host()
    );
    room.sh(&format!("{proxies} img-push --plain-http --layout l --to registry.test:5000/app:1 made")).ok();
    room.sh(&format!("{proxies} img-push --layout l --to registry.test/app:1 made")).ok();
    room.sh(&format!("{proxies} img-pull --layout back registry.test/app:1 && diff -r l/blobs back/blobs")).ok();
    assert!(http.seen().iter().all(|head| head.starts_with("CONNECT registry.test:5000 ")), "{:#?}", http.seen());
    // user:word
    assert!(
        http.seen()[0].to_lowercase().contains("\r\nproxy-authorization: basic dxnlcjp3b3jk\r\n"),
        "{:#?}",
        http.seen()
    );
    assert!(https.seen().iter().all(|head| head.starts_with("CONNECT registry.test:443 ")), "{:#?}", https.seen());
    let before = (http.seen().len(), https.seen().len());
    // This machine itself, and what NO_PROXY names, is reached directly; directly there is no registry.test.
    room.sh(&format!("{proxies} img-push --layout l --to {}/app:2 made", plain.host())).ok();
    for rule in ["registry.test", ".test", "*"] {
        let ran = room.sh(&format!(
            "{proxies} NO_PROXY='x,{rule}' DOCK_REGISTRY_TIMEOUT=5 img-pull --layout none registry.test/app:1"
        ));
        assert_eq!(ran.code, 1, "{rule}: {ran:#?}");
    }
    assert_eq!(before, (http.seen().len(), https.seen().len()));
    room.sh("HTTPS_PROXY=gopher://me:secret@x img-pull --layout none registry.test/app:1")
        .fails(1, "not the URL of a proxy");
}

/// From a file, a descriptor, stdin, the environment, and podman's file; never from a command line.
#[test]
fn credentials_come_by_many_ways() {
    needs!("docker-registry");
    let room = Room::new();
    made(&room);
    let registry = Registry::with_password(&room);
    let host = registry.host();
    let push =
        |before: &str, after: &str| room.sh(&format!("{before} img-push --layout l --to {host}/app:1 {after} made"));
    push("", "").fails(1, "wants a user and a password");
    push("echo me:secret |", "--auth -").ok();
    room.write("secret", "me:secret\n");
    push("", "--auth /dev/fd/3 3<secret").ok();
    push("", "--auth secret").ok();
    let json = format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#);
    push(&format!("printf '%s' '{json}' |"), "--auth -").ok();
    push(&format!("DOCKER_AUTH_CONFIG='{json}'"), "").ok();
    room.write("auth.json", &json);
    push("REGISTRY_AUTH_FILE=auth.json", "").ok();
    room.write(".config/containers/auth.json", &json);
    push("", "").ok();
    // Docker's own file comes before podman's.
    room.write(".docker/config.json", json.replace("bWU6c2VjcmV0", "bWU6d3Jvbmc="));
    push("", "").fails(1, "Unauthorized: log in");
    room.sh(&format!("img-pull --auth secret --layout back {host}/app:1")).ok();
    push("echo me:wrong |", "--auth -").fails(1, "Unauthorized: log in");
    push("echo nobody |", "--auth -").fails(1, "want USER:PASSWORD");
    push("printf 'me:sec\\nret' |", "--auth -").fails(1, "want USER:PASSWORD");
    push("", "--auth none").fails(1, "none: No such file");
    room.sh(&format!("img-pull --auth secret --layout back {host}/app:1 127.0.0.1:1/x")).fails(2, "several registries");
    room.sh("img-push --auth - </dev/null").fails(2, "stdin has the image records");
}

/// What the user gives is for the registry of the name: its mirror is somebody else.
#[test]
fn given_credentials_do_not_go_to_a_mirror() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(1000));
    let serve = |honest: Arc<Honest>, missing: bool| {
        Liar::start(move |head, _| match (missing, head.contains("\r\nauthorization: basic bwu6c2vjcmv0\r\n")) {
            (true, _) => reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
            (false, true) => honest.answer(head),
            (false, false) => reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
        })
    };
    let (mirror, origin) = (serve(Arc::clone(&honest), true), serve(honest, false));
    room.write("mirrors.json", format!(r#"{{"mirrors":{{"{}":["http://{}"]}}}}"#, origin.host(), mirror.host()));
    room.sh(&format!("echo me:secret | img-pull --auth - --mirrors mirrors.json --layout l {}/app:1", origin.host()))
        .ok();
    let seen = mirror.seen();
    assert!(!seen.is_empty() && seen.iter().all(|head| !head.contains("authorization")), "{seen:#?}");
}

/// A helper that is not here is named with its host, and what is public comes all the same.
#[test]
fn without_its_helper_a_pull_goes_on_as_nobody() {
    let (room, honest) = (Room::new(), Honest::image(1000));
    let registry = Liar::start(move |head, _| honest.answer(head));
    let host = registry.host();
    room.write(".docker/config.json", r#"{"credsStore":"desktop"}"#);
    let ran = room.sh(&format!("img-pull --layout l {host}/app:1 {host}/app:2"));
    let line = format!(
        "img-pull: {host}: docker-credential-desktop: No such file or directory (os error 2); going on without credentials\n"
    );
    assert_eq!((ran.code, &ran.stderr), (0, &line), "said once");
}

/// docker-registry behind a token server: password and refresh token, pull, push and mount.
#[test]
fn a_real_registry_behind_a_token_server() {
    needs!("docker-registry", "openssl");
    let room = Room::new();
    let tokens = Tokens::start(&room);
    let registry = Registry::with("", &tokens.lines());
    let host = registry.host();
    made(&room);
    let push = |name: &str| room.sh(&format!("img-push --layout l --to {host}/{name} made"));
    push("app:1").fails(1, "401 Unauthorized");
    room.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#));
    push("team/app:1").ok();
    room.sh(&format!("img-pull --layout back {host}/team/app:1 && diff -r l/blobs back/blobs")).ok();
    room.sh(&format!("img-search --tags {host}/team/app")).ok();
    // Mounted from beside: one token for both repositories.
    room.sh(&format!("img-tag --layout l made {host}/team/app:1")).ok();
    let said = room.sh(&format!("img-push --layout l --format docker --to {host}/other/app:1 made")).ok();
    assert!(said.contains(": Mounted from team/app\n"), "{said}");
    let asked = tokens.server.seen();
    room.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"identitytoken":"Refresh"}}}}}}"#));
    push("third:1").ok();
    let refreshed = tokens.server.seen().split_off(asked.len());
    assert!(!refreshed.is_empty() && refreshed.iter().all(|head| head.starts_with("post /token ")), "{refreshed:#?}");
    room.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"identitytoken":"Stolen"}}}}}}"#));
    push("third:2").fails(1, "token from");
}

/// The token of the first request is refused in the middle; the token server fails in passing, too.
#[test]
fn a_token_that_ends_in_the_middle_of_a_pull() {
    let (room, honest) = (Room::new(), Honest::image(1000));
    let tokens = Liar::start(|_, count| match count {
        1 => reply("503 Service Unavailable", &[("Retry-After", "0")], b""),
        count => reply("200 OK", &[], format!(r#"{{"token":"t{count}"}}"#).as_bytes()),
    });
    let (realm, over) = (format!("http://{}/token", tokens.host()), AtomicUsize::new(0));
    let registry = Liar::start(move |head, _| {
        let path = head.split(' ').nth(1).unwrap();
        let good = if over.load(Ordering::SeqCst) == 0 { "bearer t0\r\n" } else { "bearer t2\r\n" };
        if !head.contains(good) {
            let challenge = format!(r#"Bearer realm="{realm}",service="s",error="invalid_token""#);
            return reply("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
        }
        // From the first blob on the token is too old.
        if path.contains("/manifests/") {
            over.store(1, Ordering::SeqCst);
        }
        honest.answer(head)
    });
    room.sh(&format!("img-pull --layout l {}/app:1 && img-fsck --strict l", registry.host())).ok();
    assert_eq!(tokens.seen().len(), 3, "one at the start, one that failed, one in the middle");
}

/// A line that hangs, a line that drips, and an answer that does not come are given up, and taken up again.
#[test]
fn a_line_that_hangs_is_noticed() {
    let honest = Arc::new(Honest::image(300_000));
    for (lie, what) in [(HOLD, "silence"), (DRIP, "a byte now and then"), ("", "no answer")] {
        let (room, first) = (Room::new(), AtomicUsize::new(0));
        let registry = Liar::start({
            let honest = Arc::clone(&honest);
            move |head, _| {
                if !head.contains(&honest.layer_digest) {
                    return honest.answer(head);
                }
                if first.fetch_add(1, Ordering::SeqCst) == 0 {
                    if lie.is_empty() {
                        std::thread::sleep(Duration::from_secs(20));
                    }
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n{lie}\r\n\r\n");
                    return [head.as_bytes(), &honest.layer[..100]].concat();
                }
                let range = head
                    .split("\r\nrange: bytes=")
                    .nth(1)
                    .map(|rest| rest.split('-').next().unwrap().parse::<usize>().unwrap());
                let from = range.unwrap_or(0);
                match lie {
                    "" => reply("200 OK", &[], &honest.layer),
                    _ => {
                        let range = format!("bytes {from}-299999/300000");
                        reply("206 Partial Content", &[("Content-Range", &range)], &honest.layer[from..])
                    }
                }
            }
        });
        let ran = room.sh(&format!("DOCK_REGISTRY_TIMEOUT=1 img-pull --layout l {}/app:1", registry.host()));
        // What dripped were the wrong bytes: then the digest decides, and this run or the next one begins anew.
        if lie == DRIP {
            assert!(
                registry.seen().iter().any(|head| head.contains("range: bytes=")),
                "{what}: {:#?}",
                registry.seen()
            );
            room.sh(&format!("img-pull --layout l {}/app:1 && img-fsck --strict l", registry.host())).ok();
            continue;
        }
        assert_eq!(ran.code, 0, "{what}: {ran:#?}");
        room.sh("img-fsck --strict l").ok();
        if lie == HOLD {
            assert!(
                registry.seen().iter().any(|head| head.contains("range: bytes=100-")),
                "{what}: {:#?}",
                registry.seen()
            );
        }
    }
    Room::new().sh("DOCK_REGISTRY_TIMEOUT=soon img-pull --layout l 127.0.0.1:1/x").fails(1, "DOCK_REGISTRY_TIMEOUT");
}

#[test]
fn an_upload_that_hangs_is_noticed() {
    let (room, hung) = (Room::new(), AtomicUsize::new(0));
    made(&room);
    let registry = Liar::start(move |head, _| match head.split(' ').next().unwrap() {
        "head" => reply("404 Not Found", &[], b""),
        "post" => reply("202 Accepted", &[("Location", "/v2/app/blobs/uploads/one")], b""),
        "put" if hung.fetch_add(1, Ordering::SeqCst) == 0 => {
            std::thread::sleep(Duration::from_secs(20));
            Vec::new()
        }
        "put" => reply("201 Created", &[], b""),
        _ => reply("404 Not Found", &[], b""),
    });
    room.sh(&format!("DOCK_REGISTRY_TIMEOUT=1 img-push --layout l --to {}/app:1 made", registry.host())).ok();
}

/// Too many requests: what the registry asks for is waited for, in either form; what takes too long is said.
#[test]
fn retry_after_is_honoured() {
    needs!("date");
    let honest = Arc::new(Honest::image(1000));
    for form in ["1", "date"] {
        let (room, times) = (Room::new(), Arc::new(Mutex::new(Vec::new())));
        let registry = Liar::start({
            let (honest, times) = (Arc::clone(&honest), Arc::clone(&times));
            move |head, count| {
                times.lock().unwrap().push(Instant::now());
                let date = std::process::Command::new("date")
                    .args(["-u", "-d", "3 seconds", "+%a, %d %b %Y %H:%M:%S GMT"])
                    .env("LC_ALL", "C")
                    .output()
                    .unwrap();
                let after =
                    if form == "1" { "1".into() } else { String::from_utf8(date.stdout).unwrap().trim().to_owned() };
                if count == 0 {
                    reply("429 Too Many Requests", &[("Retry-After", &after)], b"")
                } else {
                    honest.answer(head)
                }
            }
        });
        room.sh(&format!("img-pull --layout l {}/app:1", registry.host())).ok();
        let times = times.lock().unwrap();
        assert!(times[1] - times[0] >= Duration::from_secs(1), "{form}: {times:?}");
    }
    let limit = Liar::start(|_, _| reply("429 Too Many Requests", &[("Retry-After", "21600")], b""));
    let ran = Room::new().sh(&format!("img-pull --layout l {}/app:1", limit.host()));
    ran.fails(1, "429 Too Many Requests (Retry-After: 21600)");
    assert_eq!(limit.seen().len(), 1, "nobody waits six hours");
}

/// A line on a terminal that goes when it is over; nothing in a file, on a terminal that cannot wipe, or with -q.
#[test]
fn progress_is_for_a_terminal() {
    needs!("script");
    let (room, honest) = (Room::new(), Arc::new(Honest::image(50_000)));
    made(&room);
    let registry = Liar::start(move |head, _| {
        let method = head.split(' ').next().unwrap();
        if head.contains(&honest.layer_digest) || method == "put" {
            std::thread::sleep(Duration::from_millis(700));
        }
        match method {
            "get" => honest.answer(head),
            "head" => reply("404 Not Found", &[], b""),
            "post" => reply("202 Accepted", &[("Location", "/v2/app/blobs/uploads/one")], b""),
            _ => reply("201 Created", &[], b""),
        }
    });
    let host = registry.host();
    let shown = |term: &str, command: &str| {
        let ran = room.sh(&format!("TERM={term} COLUMNS=80 script -qec '{command}' seen >/dev/null && cat seen"));
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.stdout
    };
    let pull = |layout: &str, more: &str| format!("img-pull {more} --layout {layout} {host}/app:1");
    let push = format!("img-push --layout l --to {host}/app:1 made");
    let text = shown("xterm", &pull("a", ""));
    assert!(text.contains(&format!("\r\u{1b}[K{host}/app:1: 0/1 layers  0B / 50.0kB")), "{text:?}");
    let wiped = text.rfind("\r\u{1b}[K").unwrap();
    assert!(text[wiped..].starts_with("\r\u{1b}[K{\"formatVersion\""), "the record stands on a clean line: {text:?}");
    assert!(shown("xterm", &push).contains(" 0/1 layers "));
    for text in [shown("dumb", &pull("b", "")), shown("xterm", &pull("c", "-q")), shown("dumb", &push)] {
        assert!(!text.contains('\u{1b}') && text.contains("formatVersion"), "{text:?}");
    }
    assert_eq!(room.sh(&pull("d", "")).stderr, "");
}
