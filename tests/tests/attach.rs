//! Attached to a container: all of its output, input, signals, several at once.

use dock_tests::background::Yard;
use dock_tests::needs;

#[test]
fn a_foreground_run_misses_no_byte_and_passes_all_on() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let ran = yard.sh("dock run --name aa busybox sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(yard.sh("dock logs aa 2>&1").ok(), "out\nerr");
    // More than any pipe or socket holds, in both directions at once.
    let sums = "head -c 3000000 /dev/urandom >big; md5sum <big; dock run -i --name bb busybox cat <big | md5sum";
    let sums = yard.sh(sums).ok();
    let (sent, received) = sums.split_once('\n').unwrap();
    assert_eq!(sent, received);
    let slow = yard.sh("dock run --name cc busybox head -c 500000 /dev/zero | { sleep 0.5; wc -c; }").ok();
    assert_eq!(slow, "500000", "who reads late loses nothing");
    assert_eq!(yard.sh("dock start -a aa").code, 7);
    let script =
        "dock create -i --name dd busybox sh -c 'read x; echo got $x' >/dev/null; echo word | dock start -ai dd";
    assert_eq!(yard.sh(script).ok(), "got word");
}

#[test]
fn signals_reach_the_container() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let ready =
        "n=0; until dock logs aa 2>/dev/null | grep -q ready || [ $n -gt 1200 ]; do sleep 0.05; n=$((n+1)); done";
    let trap = "sh -c 'trap \"echo stopped; exit 9\" INT; echo ready; while :; do sleep 0.05; done'";
    let ran = yard.sh(&format!(
        "dock run --name aa busybox {trap} >out & client=$!; {ready}; kill -INT $client; wait $client; echo $?; cat out"
    ));
    assert_eq!(ran.stdout, "9\nready\nstopped\n", "{ran:#?}");
    // Without the proxy the client goes and the container stays.
    yard.sh("dock rm aa").ok();
    let ran = yard.sh(&format!("dock run --sig-proxy=false --name aa busybox {trap} >out & client=$!; {ready}; kill -TERM $client; wait $client; echo $?; dock ps -q | wc -l"));
    assert_eq!(ran.stdout, "143\n1\n", "{ran:#?}");
}

#[test]
fn a_killed_client_leaves_the_container() {
    needs!(root, "busybox");
    let yard = Yard::new();
    let script = "n=0; mkdir go; dock run --name aa -v $PWD/go:/go busybox sh -c 'until [ -e /go/on ]; do sleep 0.02; done; echo later; exit 6' & client=$!
        until [ -n \"$(dock ps -q)\" ]; do sleep 0.02; n=$((n+1)); [ $n -lt 3000 ] || exit 99; done; kill -9 $client; touch go/on; dock wait aa; dock logs aa";
    assert_eq!(yard.sh(script).ok(), "6\nlater");
}

#[test]
fn several_see_the_same() {
    needs!(root, "busybox");
    let yard = Yard::new();
    // It speaks until both are there and hear it.
    yard.sh("mkdir go; dock run -d -i --name aa -v $PWD/go:/go busybox sh -c 'until [ -e /go/on ]; do echo hear; sleep 0.02; done; read x; echo $x; exit 3'").ok();
    let script = "dock attach --no-stdin aa >one & dock attach --no-stdin aa >two & n=0
        until [ -s one ] && [ -s two ] || [ $n -gt 3000 ]; do sleep 0.02; n=$((n+1)); done; touch go/on
        echo word | dock attach aa >three; echo $?; wait; for f in one two three; do grep -v hear $f; done";
    assert_eq!(yard.sh(script).ok(), "3\nword\nword\nword");
    yard.sh("dock attach aa").fails(1, "You cannot attach to a stopped container, start it first");
}
