//! What containers print: kept apart, in order, bounded, followed.

use dock_tests::background::Yard;
use dock_tests::needs;
use std::fs;

#[test]
fn streams_are_apart_and_in_order() {
    needs!(root, "busybox");
    let yard = Yard::new();
    // The two streams are two pipes: what comes before what is certain only where one waits for the other.
    yard.sh("mkdir go; dock run -d --name aa -v $PWD/go:/go busybox sh -c 'w() { until [ -e /go/$1 ]; do sleep 0.02; done; }; echo one; w 1; echo two >&2; w 2; echo -n three'").ok();
    yard.until("dock logs aa 2>&1", "one\n");
    yard.sh("touch go/1").ok();
    yard.until("dock logs aa 2>&1", "two\n");
    yard.sh("touch go/2; dock wait aa").ok();
    let ran = yard.sh("dock logs aa");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("one\nthree", "two\n"));
    assert_eq!(yard.sh("dock logs aa 2>&1").stdout, "one\ntwo\nthree");
    assert_eq!(yard.sh("dock logs --tail 2 aa 2>&1").stdout, "two\nthree");
    assert_eq!(yard.sh("dock logs -n 0 aa 2>&1").stdout, "");
    let stamped = yard.sh("dock logs -t aa").ok();
    let time = stamped.split(' ').next().unwrap();
    assert!(time.len() == "2026-01-02T03:04:05.123456789Z".len() && time.ends_with('Z'), "{stamped}");
    let after = yard.sh("first=$(dock logs -t aa | head -1 | cut -d' ' -f1); second=$(dock logs -t aa 2>&1 >/dev/null | cut -d' ' -f1)
        dock logs --since $second aa 2>&1; echo; dock logs --until $first aa 2>&1; dock logs --since 1h aa 2>/dev/null | head -1");
    assert_eq!(after.stdout, "two\nthree\none\none\n", "{after:#?}");
    yard.sh("dock logs none").fails(1, "No such container: none");
    yard.sh("dock logs --since yesterday aa").fails(1, "yesterday");
}

#[test]
fn following_ends_with_the_container_and_misses_nothing() {
    needs!(root, "busybox");
    let yard = Yard::new();
    // 3000 lines through files of 8 KiB: they are renamed under the reader all the time.
    let script = "dock run -d --log-opt max-size=8k --log-opt max-file=50 --name aa busybox sh -c 'sleep 0.2; seq 3000; exit 4' >/dev/null
        dock logs -f aa";
    let followed = yard.sh(script).ok();
    let want: Vec<_> = (1..=3000).map(|n| n.to_string()).collect();
    assert!(followed.lines().eq(want.iter().map(String::as_str)), "{} lines", followed.lines().count());
    assert_eq!(yard.sh("dock logs --tail 2500 aa").ok().lines().next(), Some("501"), "across files");
    assert!(fs::metadata(yard.member("aa", "bundle") + "/log.json.3").unwrap().len() <= 8192);
    assert_eq!(yard.sh("dock logs -f aa | tail -1").ok(), "3000", "of one that has ended");
}

#[test]
fn a_log_is_bounded_unless_it_is_none() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d --log-opt max-size=1k --name aa busybox seq 1000 && dock wait aa").ok();
    let bundle = yard.member("aa", "bundle");
    let files: Vec<_> = fs::read_dir(&bundle)
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_str().unwrap().starts_with("log.json"))
        .collect();
    assert_eq!(files.len(), 3, "three files unless asked otherwise");
    assert!(files.iter().all(|entry| entry.metadata().unwrap().len() <= 1024));
    assert_eq!(yard.sh("dock logs aa | tail -1").ok(), "1000");
    yard.sh("dock run -d --log-driver none --name bb busybox seq 10 && dock wait bb").ok();
    yard.sh("dock logs bb").fails(1, "configured logging driver does not support reading");
}

#[test]
fn a_user_can_open_its_own_stdout() {
    needs!(root, "busybox");
    let yard = Yard::new();
    yard.sh("dock run -d -u www --name aa busybox sh -c 'echo through >/proc/self/fd/1; echo err >/proc/self/fd/2' && dock wait aa").ok();
    assert_eq!(yard.sh("dock logs aa 2>&1").ok(), "through\nerr");
}

/// The details are those of docker 20.10 for the same options, character by character.
#[test]
fn details_are_what_the_log_options_chose() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let options = "-l a=1 -l b='x y,z=%' -l c=3 -l d=4 -e 'E=v ö' -e F=2 --log-opt labels=b,none,a --log-opt env=E,G --log-opt labels-regex=^c";
    yard.sh(&format!("dock run -d --name aa {options} busybox sh -c 'echo hi; echo err >&2'; dock wait aa")).ok();
    let ran = yard.sh("dock logs --details aa");
    let details = "E=v+%C3%B6,a=1,b=x+y%2Cz%3D%25,c=3";
    assert_eq!((ran.stdout, ran.stderr), (format!("{details} hi\n"), format!("{details} err\n")));
    assert!(yard.sh("dock logs --details -t aa").ok().ends_with(&format!("Z {details} hi")), "behind the time");
    assert_eq!(yard.sh("dock logs aa 2>/dev/null").ok(), "hi");
    let entry = fs::read_to_string(yard.member("aa", "bundle") + "/log.json").unwrap();
    let entry: serde_json::Value = serde_json::from_str(entry.lines().next().unwrap()).unwrap();
    assert_eq!(
        entry["attrs"],
        serde_json::json!({"E": "v ö", "a": "1", "b": "x y,z=%", "c": "3"}),
        "as json-file has them"
    );
    assert_eq!(yard.sh("dock inspect -f '{{len .HostConfig.LogConfig.Config}}' aa").ok(), "3");
    yard.sh("dock run -d --name none busybox echo hi; dock wait none").ok();
    assert_eq!(yard.sh("dock logs --details none").stdout, " hi\n");
}
