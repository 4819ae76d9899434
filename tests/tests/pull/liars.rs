//! A registry that lies, and to whom credentials are shown.

use crate::{INDEX, clean, record, untouched};
use dock_tests::liar::{Honest, Liar, MANIFEST, digest, reply};
use dock_tests::{Room, needs};
use serde_json::json;
use std::sync::Arc;

#[test]
fn an_index_without_end_is_refused() {
    let entry = |below: &String| json!({"mediaType": INDEX, "digest": digest(below.as_bytes()), "size": below.len()});
    let mut many: Vec<String> = (0..300).map(|n| json!({"manifests": [], "n": n}).to_string()).collect();
    many.insert(0, json!({"manifests": many.iter().map(entry).collect::<Vec<_>>()}).to_string());
    let chain = |deep: usize| {
        let mut documents = vec![json!({"schemaVersion": 2, "manifests": []}).to_string()];
        for _ in 0..deep {
            let below = entry(documents.last().unwrap());
            documents.push(json!({"schemaVersion": 2, "manifests": [below]}).to_string());
        }
        documents.reverse();
        documents
    };
    let large = json!([{"mediaType": MANIFEST, "digest": digest(b"x"), "size": 9 << 20}]);
    let lies = json!([{"mediaType": MANIFEST, "digest": digest(&Honest::image(10).manifest), "size": 7}]);
    for (documents, error) in [
        (many, "256 documents"),
        (vec![json!({"manifests": large}).to_string()], "bytes of them"),
        (vec![json!({"manifests": lies}).to_string()], "not those of the index"),
        (chain(4), "an index in an index in an index"),
    ] {
        let room = Room::new();
        let liar = Liar::start(move |head, _| {
            let name = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
            if let Some(document) = documents.iter().find(|document| digest(document.as_bytes()) == name) {
                return reply("200 OK", &[("Content-Type", INDEX)], document.as_bytes());
            }
            match name.as_str() {
                "1" => reply("200 OK", &[("Content-Type", INDEX)], documents[0].as_bytes()),
                _ => Honest::image(10).answer(head),
            }
        });
        room.sh(&format!("img-pull --all-platforms --layout l {}/app:1", liar.host())).fails(1, error);
        untouched(&room, "l");
    }
}

/// Every lie is one line, exit code 1, and a store in which nothing is named.
#[test]
fn lies_of_a_registry() {
    let honest = Arc::new(Honest::image(10_000));
    let wrong = digest(b"something else");
    let other = |status: &'static str, headers: &'static [(&str, &str)], body: &'static [u8]| {
        let honest = Arc::clone(&honest);
        move |head: &str| if head.contains("/manifests/") { reply(status, headers, body) } else { honest.answer(head) }
    };
    let layer = |answer: fn(&Honest) -> Vec<u8>| {
        let honest = Arc::clone(&honest);
        move |head: &str| {
            if head.contains(&honest.layer_digest) { answer(&honest) } else { honest.answer(head) }
        }
    };
    type Lie = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;
    let lies: Vec<(&str, Lie, &str)> = vec![
        ("a layer of other bytes", Box::new(layer(|h| reply("200 OK", &[], &vec![0; h.layer.len()]))), "hash to"),
        ("a shorter layer", Box::new(layer(|h| reply("200 OK", &[], &h.layer[1..]))), "9999 bytes"),
        ("a longer layer", Box::new(layer(|h| {
            [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &h.layer[..], b"more"].concat()
        })), "more than 10000 bytes"),
        ("a layer that is never whole", Box::new(layer(|h| {
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", &h.layer[..0]].concat()
        })), "GET"),
        ("no layer", Box::new(layer(|_| reply("404 Not Found", &[], br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"a\u001b[31mb"}]}"#))), "404 BLOB_UNKNOWN: a [31mb"),
        ("a manifest of 5 MiB", Box::new(|head: &str| {
            if head.contains("/manifests/") { reply("200 OK", &[("Content-Type", MANIFEST)], &vec![b' '; 5 << 20]) } else { Vec::new() }
        }), "more than 4194304 bytes"),
        ("html", Box::new(other("200 OK", &[("Content-Type", "text/html")], b"<html>")), "manifest: "),
        ("schema 1", Box::new(other("200 OK", &[], br#"{"schemaVersion":1,"fsLayers":[]}"#)), "schema 1"),
        ("manifest and index at once (CVE-2021-41190)", Box::new(other("200 OK", &[], br#"{"manifests":[],"layers":[],"config":{}}"#)), "both manifests and layers"),
        ("an index that is called a manifest", Box::new(other("200 OK", &[("Content-Type", MANIFEST)], br#"{"manifests":[]}"#)), "and is not"),
        ("a digest that leads out of the store (CVE-2024-3727)", Box::new(other("200 OK", &[], br#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:../../x","size":1},"layers":[]}"#)), "is not a digest"),
        ("something else than an image", Box::new(other("200 OK", &[], br#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#)), "not an image"),
        ("a redirect to nowhere", Box::new(other("307 Temporary Redirect", &[("Location", "file:///etc/passwd")], b"")), "not a URL"),
        ("redirects for ever", Box::new(other("302 Found", &[("Location", "/v2/app/manifests/1")], b"")), "too many redirects"),
        ("a realm that is no URL", Box::new(other("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"gopher://x\"")], b"")), "token realm"),
        ("a realm over plain http elsewhere (CVE-2019-10214)", Box::new(other("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"http://192.0.2.1/token\"")], b"")), "plain http leaves this machine"),
        ("a challenge that nobody knows", Box::new(other("401 Unauthorized", &[("WWW-Authenticate", "Negotiate")], b"")), "401 Unauthorized"),
        ("a wrong Docker-Content-Digest", Box::new({
            let (honest, wrong) = (Arc::clone(&honest), wrong.clone());
            move |head: &str| reply("200 OK", &[("Content-Type", MANIFEST), ("Docker-Content-Digest", &wrong)], &honest.clone().manifest).into_iter().filter(|_| head.contains("/manifests/")).collect()
        }), "the bytes have digest"),
    ];
    for (lie, answer, error) in lies {
        let room = Room::new();
        let liar = Liar::start(move |head, _| answer(head));
        let ran = room.sh(&format!("img-pull --layout l {}/app:1", liar.host()));
        assert!(ran.code == 1 && ran.stdout.is_empty(), "{lie}: {ran:#?}");
        ran.fails(1, error);
        untouched(&room, "l");
    }
    // By digest: whatever else comes is refused.
    let room = Room::new();
    let liar = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| honest.answer(head)
    });
    room.sh(&format!("img-pull --layout l {}/app@{wrong}", liar.host())).fails(1, "the bytes have digest");
    untouched(&room, "l");
}

/// The token goes to the registry, the password to the token server, and neither one to where the blobs are
/// (CVE-2020-15157 and its kin).
#[test]
fn credentials_stay_at_their_origin() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(1000));
    let store = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| honest.answer(head)
    });
    let tokens = Liar::start(|_, _| reply("200 OK", &[], br#"{"token":"t0ken"}"#));
    let registry = Liar::start({
        let (store, realm) = (store.host(), format!("http://{}/token", tokens.host()));
        move |head, _| {
            let path = head.split(' ').nth(1).unwrap();
            if !head.contains("\r\nauthorization: bearer t0ken\r\n") {
                let challenge = format!(r#"Bearer realm="{realm}",service="s",scope="repository:all:push,pull""#);
                return reply("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"");
            }
            match path.contains("/blobs/") {
                true => reply("307 Temporary Redirect", &[("Location", &format!("http://{store}{path}"))], b""),
                false => honest.answer(head),
            }
        }
    });
    let host = registry.host();
    // "user:pass" for the registry; another registry's entry is nobody's business.
    room.write(
        ".docker/config.json",
        format!(
            r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpwYXNz"}},"{}":{{"auth":"b3RoZXI6b3RoZXI="}}}}}}"#,
            store.host()
        ),
    );
    room.sh(&format!("img-pull --layout l {host}/app:1")).ok();
    clean(&room, "l");
    let asked = tokens.seen();
    assert!(asked.iter().all(|head| head.contains("authorization: basic dxnlcjpwyxnz\r\n")), "{asked:#?}");
    assert!(
        asked[0].contains("scope=repository%3aapp%3apull") || asked[0].contains("scope=repository:app:pull"),
        "our own scope: {asked:#?}"
    );
    assert!(
        !store.seen().is_empty() && store.seen().iter().all(|head| !head.contains("authorization")),
        "{:#?}",
        store.seen()
    );
    assert!(registry.seen().iter().all(|head| !head.contains("basic")), "a password where a token was asked for");
    assert_eq!(asked.len(), 1, "one token serves the whole pull");
}

#[test]
fn a_helper_gives_the_password_and_a_missing_one_is_told() {
    let honest = Honest::image(1000);
    let registry = Liar::start(move |head, _| match head.contains("\r\nauthorization: basic bwu6c2vjcmv0\r\n") {
        true => honest.answer(head),
        false => reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
    });
    let (room, host) = (Room::new(), registry.host());
    room.sh(&format!("img-pull --layout l {host}/app:1")).fails(1, "wants a user and a password");
    room.write(".docker/config.json", format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#));
    let ran = room.sh(&format!("img-pull --layout l {host}/app:1"));
    assert!(ran.code == 1 && ran.stderr.contains("docker-credential-test: No such file"), "{ran:#?}");
    let helper = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = {host} ] && echo '{{\"Username\":\"me\",\"Secret\":\"secret\"}}'\n"
    );
    room.write("bin/docker-credential-test", helper);
    room.sh(&format!("chmod +x bin/* && PATH=$PWD/bin:$PATH img-pull --layout l {host}/app:1")).ok();
    clean(&room, "l");
    // A name that would be a path runs nothing.
    room.write(".docker/config.json", r#"{"credsStore":"../bin/x"}"#);
    let ran = room.sh(&format!("img-pull --layout l2 {host}/app:1"));
    assert!(ran.code == 1 && ran.stderr.contains("no name of a credential helper"), "{ran:#?}");
}

/// TLS with a certificate authority of one's own, in a network namespace where the registry is not loopback.
#[test]
fn https_with_a_private_authority() {
    needs!(root, "docker-registry", "skopeo", "umoci", "openssl", "ip", "curl");
    let room = Room::new();
    room.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
             -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout r.key -out r.csr
         printf 'subjectAltName=IP:203.0.113.9,IP:127.0.0.1' >san && openssl x509 -req -in r.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out r.pem
         printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: \"203.0.113.9:5000\", tls: {certificate: %s/r.pem, key: %s/r.key}}\n' $PWD $PWD $PWD >config.yml
         umoci init --layout made && umoci new --image made:x",
    )
    .ok();
    room.write(
        "inside",
        "ip link set lo up && ip addr add 203.0.113.9/32 dev lo || exit
         docker-registry serve config.yml >log 2>&1 & pid=$!
         sed 's/203.0.113.9:/127.0.0.1:/; s!/data!/data2!' config.yml >local.yml
         docker-registry serve local.yml >log2 2>&1 & pids=\"$pid $!\"
         trap 'kill $pids' EXIT
         for i in $(seq 1200); do curl -sk https://203.0.113.9:5000/v2/ && break; sleep 0.05; done
         skopeo copy -q --dest-tls-verify=false oci:made:x docker://203.0.113.9:5000/app:1 || exit
         SSL_CERT_FILE=ca.pem img-pull --layout l 203.0.113.9:5000/app:1 >good 2>&1; echo $?
         skopeo copy -q --dest-tls-verify=false oci:made:x docker://127.0.0.1:5000/app:1 || exit
         SSL_CERT_FILE=ca.pem img-pull --layout l3 127.0.0.1:5000/app:1 >loop 2>&1; echo $?
         mkdir -p web/v2/lies/manifests && cd web
         printf 'HTTP/1.1 307 x\\r\\nLocation: http://203.0.113.9:80/x\\r\\nContent-Length: 0\\r\\n\\r\\n' >v2/lies/manifests/redirect
         printf 'HTTP/1.1 401 x\\r\\nWWW-Authenticate: Bearer realm=\"http://203.0.113.9/t\"\\r\\nContent-Length: 0\\r\\n\\r\\n' >v2/lies/manifests/realm
         printf 'HTTP/1.1 401 x\\r\\nWWW-Authenticate: Bearer realm=\"https://169.254.169.254/t\"\\r\\nContent-Length: 0\\r\\n\\r\\n' >v2/lies/manifests/inside
         openssl s_server -quiet -accept 203.0.113.9:5001 -cert ../r.pem -key ../r.key -HTTP >/dev/null 2>&1 & pids=\"$pids $!\"
         cd .. && for i in $(seq 1200); do curl -sk https://203.0.113.9:5001/ >/dev/null && break; sleep 0.05; done
         for lie in redirect realm inside; do SSL_CERT_FILE=ca.pem img-pull --layout l4 203.0.113.9:5001/lies:$lie 2>$lie; echo $?; done
         img-pull --layout l2 203.0.113.9:5000/app:1 2>stranger; echo $?
         SSL_CERT_FILE=config.yml img-pull --layout l2 203.0.113.9:5000/app:1 2>empty; echo $?
         img-pull --layout l2 --plain-http 203.0.113.9:5000/app:1 2>plain; echo $?",
    );
    let codes = room.sh("unshare --net sh ./inside").ok();
    let said = |name: &str| std::fs::read_to_string(room.path(name)).unwrap();
    assert_eq!(
        codes.split_whitespace().collect::<String>().trim_start_matches("{}"),
        "00111111",
        "{} {}",
        said("loop"),
        said("log")
    );
    assert_eq!(record(&said("good"))["ref"], "203.0.113.9:5000/app:1");
    assert!(said("redirect").contains("from https to plain http"), "{}", said("redirect"));
    assert!(said("realm").contains("only fetched over https"), "CVE-2019-10214: {}", said("realm"));
    assert!(said("inside").contains("must not send us to an internal address"), "CVE-2020-15157: {}", said("inside"));
    assert!(said("stranger").contains("UnknownIssuer"), "{}", said("stranger"));
    assert!(said("empty").contains("no certificate in the file"), "{}", said("empty"));
    assert!(said("plain").contains("400 Bad Request"), "{}", said("plain"));
    clean(&room, "l");
}
