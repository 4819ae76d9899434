//! What broke off: tried again, taken up where it ended, cleaned up.

use crate::{clean, index};
use dock_tests::Room;
use dock_tests::liar::{HOLD, Honest, Liar, reply};
use serde_json::json;
use std::sync::Arc;

#[test]
fn what_fails_in_passing_is_tried_again() {
    let room = Room::new();
    let honest = Honest::image(1000);
    let registry = Liar::start(move |head, count| match count {
        0 => reply("429 Too Many Requests", &[("Retry-After", "0")], b""),
        1 => reply("503 Service Unavailable", &[("Retry-After", "0")], b""),
        2 | 4 => honest.answer(head),
        3 => Vec::new(),
        _ => honest.answer(head),
    });
    room.sh(&format!("img-pull --layout l {}/app:1", registry.host())).ok();
    clean(&room, "l");
    let never = Liar::start(|_, _| reply("500 Internal Server Error", &[("Retry-After", "0")], b""));
    room.sh(&format!("img-pull --layout l {}/app:1", never.host())).fails(1, "500 Internal Server Error");
    assert_eq!(never.seen().len(), 3, "three tries");
    let limit = Liar::start(|_, _| reply("404 Not Found", &[], b""));
    room.sh(&format!("img-pull --layout l {}/app:1", limit.host())).fails(1, "404 Not Found");
    assert_eq!(limit.seen().len(), 1, "what is not there is not there");
}

/// The line is cut in the middle of a layer; the rest is asked for, and only the rest.
#[test]
fn a_cut_layer_is_taken_up_where_it_ended() {
    for ranges in [true, false] {
        let room = Room::new();
        let honest = Honest::image(300_000);
        let registry = Liar::start(move |head, _| {
            if !head.contains(&honest.layer_digest) {
                return honest.answer(head);
            }
            let from = head
                .split("\r\nrange: bytes=")
                .nth(1)
                .map(|rest| rest.split('-').next().unwrap().parse::<usize>().unwrap());
            match (from, ranges) {
                (None, _) => [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", &honest.layer[..200_000]].concat(),
                (Some(from), true) => {
                    let range = format!("bytes {from}-299999/300000");
                    reply("206 Partial Content", &[("Content-Range", &range)], &honest.layer[from..])
                }
                (Some(_), false) => reply("200 OK", &[], &honest.layer),
            }
        });
        room.sh(&format!("img-pull --layout l {}/app:1", registry.host())).ok();
        clean(&room, "l");
        let asked: Vec<String> =
            registry.seen().into_iter().filter(|head| head.contains("range: bytes=200000-")).collect();
        assert_eq!(asked.len(), 1, "{:#?}", registry.seen());
    }
}

#[test]
fn a_killed_pull_leaves_a_clean_store_and_the_next_one_finishes() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(2_000_000));
    let stuck = stuck_after(1_000_000, &honest);
    let ran = room.sh(&format!(
        "img-pull --layout l {}/app:1 & pid=$!
         for i in $(seq 1200); do [ \"$(ls l/blobs/sha256 2>/dev/null | wc -l)\" = 1 ] && [ -n \"$(ls l/.dock/partial)\" ] && break; sleep 0.05; done
         ls l/.dock/partial | grep -q . && kill -9 $pid; wait $pid; echo $?",
        stuck.host()
    ));
    assert_eq!(ran.ok(), "137");
    assert_eq!(index(&room, "l"), json!([]));
    let whole = Liar::start(move |head, _| honest.answer(head));
    room.sh(&format!("img-pull --layout l {}/app:1", whole.host())).ok();
    clean(&room, "l");
}

/// Sends so much of the layer, and then nothing any more.
fn stuck_after(bytes: usize, honest: &Arc<Honest>) -> Liar {
    let honest = Arc::clone(honest);
    Liar::start(move |head, _| {
        if head.contains(&honest.layer_digest) {
            let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{HOLD}\r\n\r\n", honest.layer.len());
            return [start.as_bytes(), &honest.layer[..bytes]].concat();
        }
        honest.answer(head)
    })
}

/// What a killed pull has fetched is not fetched again, and what lies there wrong is thrown away.
#[test]
fn a_cut_blob_is_taken_up_by_the_next_run() {
    let room = Room::new();
    let honest = Arc::new(Honest::image(2_000_000));
    let stuck = stuck_after(1_500_000, &honest);
    let whole = Liar::start({
        let honest = Arc::clone(&honest);
        move |head, _| {
            let range = head.split("\r\nrange: bytes=").nth(1).filter(|_| head.contains(&honest.layer_digest));
            match range.map(|rest| rest.split('-').next().unwrap().parse::<usize>().unwrap()) {
                Some(from) => {
                    let range = format!("bytes {from}-1999999/2000000");
                    reply("206 Partial Content", &[("Content-Range", &range)], &honest.layer[from..])
                }
                None => honest.answer(head),
            }
        }
    });
    let part = format!("l/.dock/partial/{}", honest.layer_digest.replace(':', "-"));
    let ran = room.sh(&format!(
        "img-pull --layout l {}/app:1 & pid=$!
         for i in $(seq 1200); do [ \"$(stat -c %s {part} 2>/dev/null || echo 0)\" -ge 1000000 ] && break; sleep 0.05; done
         kill -9 $pid; wait $pid; stat -c %s {part}",
        stuck.host()
    ));
    let kept: usize = ran.ok().parse().unwrap();
    assert!((1_000_000..=1_500_000).contains(&kept), "{kept}");
    room.sh(&format!("img-fsck l; img-pull --layout l {}/app:1", whole.host())).ok();
    clean(&room, "l");
    let asked: Vec<String> = whole.seen().into_iter().filter(|head| head.contains("range:")).collect();
    assert!(asked.len() == 1 && asked[0].contains(&format!("range: bytes={kept}-")), "{asked:#?}");
    assert_eq!(room.sh("ls l/.dock/partial | wc -l").ok(), "0");

    // Wrong bytes that lie there: the digest decides, and all is fetched anew.
    room.sh("img-pull --layout empty 127.0.0.1:1/x").fails(1, "127.0.0.1:1");
    let wrong = ["yes x | head -c 1000000", "yes x | head -c 2000000", "yes x | head -c 2000001"];
    for (name, content) in ["l2", "l3", "l4"].into_iter().zip(wrong) {
        let part = part.replacen("l/", &format!("{name}/"), 1);
        room.sh(&format!("cp -r empty {name} && mkdir -p {name}/.dock/partial && {content} >{part}")).ok();
        room.sh(&format!("img-pull --layout {name} {}/app:1", whole.host())).ok();
        clean(&room, name);
        assert_eq!(room.sh(&format!("ls {name}/.dock/partial | wc -l")).ok(), "0");
    }
    // What nobody came back for goes.
    room.sh("echo old >l/.dock/partial/sha256-x && touch -d '8 days ago' l/.dock/partial/sha256-x && echo new >l/.dock/partial/sha256-y").ok();
    room.sh(&format!("img-pull --layout l {}/app:1", whole.host())).ok();
    assert_eq!(room.sh("ls l/.dock/partial").ok(), "sha256-y");
}
