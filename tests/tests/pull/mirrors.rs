//! Mirrors in the place of a registry.

use crate::{clean, record};
use dock_tests::liar::{Honest, Liar, reply};
use dock_tests::registry::Registry;
use dock_tests::{Room, needs};
use std::sync::Arc;

/// Docker's daemon.json as it stands: docker.io is never asked when its mirror has everything.
#[test]
fn a_mirror_of_the_hub() {
    needs!("docker-registry", "skopeo", "umoci");
    let (room, mirror) = (Room::new(), Registry::start());
    let host = mirror.host();
    room.push_layered(&host, "library/alpine:3.20");
    room.write("daemon.json", format!(r#"{{"debug":true,"registry-mirrors":["http://127.0.0.1:1","http://{host}"]}}"#));
    let ran = room.sh("img-pull --mirrors daemon.json --layout l alpine:3.20");
    assert_eq!(record(&ran.stdout)["ref"], "docker.io/library/alpine:3.20");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].starts_with("img-pull: 3.20: 127.0.0.1:1: GET http://127.0.0.1:1/v2/"), "{ran:#?}");
    // The dead one is not asked again for every blob.
    assert_eq!(lines.len(), 6, "document, configuration, three layers: {ran:#?}");
    assert!(lines[1..].iter().all(|line| line.ends_with(&format!(": from {host}"))), "{ran:#?}");
    clean(&room, "l");
    room.sh("DOCK_MIRRORS=none img-pull --layout l alpine:3.20").fails(1, "none: No such file");
    room.write("bad.json", r#"{"registry-mirrors":["https://m.example/path"]}"#);
    room.sh("img-pull --mirrors bad.json --layout l alpine:3.20").fails(1, "is no mirror");
}

/// A table for any registry: what the mirror has not, or has wrong, comes from the next one. Each one hears its own
/// password and no other's.
#[test]
fn what_a_mirror_lacks_or_lies_about_comes_from_the_next_one() {
    let honest = Arc::new(Honest::image(10_000));
    type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;
    let wanting = |user: &'static str, answer: Answer| {
        Liar::start(move |head, _| match head.contains(&format!("\r\nauthorization: basic {user}\r\n")) {
            true => answer(head),
            false => reply("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
        })
    };
    let all = {
        let honest = Arc::clone(&honest);
        Arc::new(move |head: &str| honest.answer(head))
    };
    for lie in ["404 Not Found", "200 OK"] {
        let room = Room::new();
        let half = {
            let honest = Arc::clone(&honest);
            Arc::new(move |head: &str| match head.contains(&honest.layer_digest) {
                true => reply(lie, &[], &vec![1; 10_000]),
                false => honest.answer(head),
            })
        };
        // m:m and o:o
        let (mirror, origin) = (wanting("btpt", half), wanting("bzpv", all.clone()));
        let (m, o) = (mirror.host(), origin.host());
        room.write(
            ".docker/config.json",
            format!(r#"{{"auths":{{"{m}":{{"auth":"bTpt"}},"{o}":{{"auth":"bzpv"}}}}}}"#),
        );
        room.write("mirrors.json", format!(r#"{{"mirrors":{{"{o}":["http://{m}"]}}}}"#));
        let ran = room.sh(&format!("img-pull --mirrors mirrors.json --layout l {o}/app:1"));
        assert!(ran.code == 0 && ran.stderr.contains(&format!("from {m}\n")), "{lie}: {ran:#?}");
        assert!(
            ran.stderr.contains("trying the next one\n") && ran.stderr.ends_with(&format!(": from {o}\n")),
            "{lie}: {ran:#?}"
        );
        clean(&room, "l");
        assert!(
            mirror.seen().iter().all(|head| !head.contains("bzpv"))
                && origin.seen().iter().all(|head| !head.contains("btpt"))
        );
    }
}
