//! linux.netDevices of runtime-spec 1.3: network devices that move into the container's network namespace. The host is
//! another network namespace, made for the test.

use dock_tests::bundle::{config, configure, room};
use dock_tests::{Ran, Room, needs};
use serde_json::{Value, json};

/// Runs the bundle from a network namespace with these devices, and `after` when it has ended.
fn run(room: &Room, devices: &str, change: impl FnOnce(&mut Value), script: &str, after: &str) -> Ran {
    let mut config = config(&["sh", "-c", script]);
    change(&mut config);
    configure(room, &config);
    room.write("host", format!("{devices}\nctr-spawn box\ncode=$?\n{after}\nexit $code\n"));
    room.sh("unshare --net sh -e host")
}

fn moves(devices: Value) -> impl FnOnce(&mut Value) {
    move |config| config["linux"]["netDevices"] = devices
}

/// A pair: `v0` goes, `v1` stays and sees whether the other is up.
const PAIR: &str = "ip link set lo up; ip link add v0 type veth peer name v1; ip link set v1 up; set +e";

#[test]
fn a_device_comes_with_its_addresses_and_is_up() {
    needs!(root, "busybox", "ip", "unshare");
    let room = room();
    // Of hardware address and MTU nothing is lost; addresses for a while, and those of the link alone, stay behind.
    let devices = "ip link add v0 mtu 1400 address 02:00:00:00:00:07 type veth peer name v1
        ip link set v1 up; ip link set v0 up
        ip addr add 192.0.2.1/24 broadcast 192.0.2.255 dev v0; ip addr add 192.0.2.9 peer 198.51.100.1/32 dev v0
        ip addr add 192.0.2.20/24 dev v0 valid_lft 500 preferred_lft 500; ip -6 addr add fe80::7/64 dev v0
        ip -6 addr add 2001:db8::1/64 dev v0 nodad noprefixroute; ip addr add 203.0.113.1/24 dev v1; set +e";
    let script = "ip -o link show eth7; ip -o addr show eth7; ip link | grep -c mtu; ip route";
    let ran = run(&room, devices, moves(json!({"v0": {"name": "eth7"}})), script, "");
    let text = ran.ok();
    let (link, rest) = text.split_once('\n').unwrap();
    for word in ["eth7@", "UP", "mtu 1400", "02:00:00:00:00:07"] {
        assert!(link.contains(word), "{word}: {text}");
    }
    for word in [
        "inet 192.0.2.1/24 brd 192.0.2.255",
        "inet 192.0.2.9 peer 198.51.100.1/32",
        "inet6 2001:db8::1/64",
        "192.0.2.0/24 dev eth7",
    ] {
        assert!(rest.contains(word), "{word}: {text}");
    }
    for word in ["192.0.2.20", "fe80::7/64", "203.0.113.1", "v0"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_device_keeps_its_name_or_gets_a_number() {
    needs!(root, "busybox", "ip", "unshare");
    let room = room();
    let names = "ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d '\\n'";
    for (devices, names_inside) in [
        (json!({"v0": {}}), " lo v0"),
        (json!({"v0": {"name": ""}}), " lo v0"),
        (json!({"v0": {"name": "net%d"}}), " lo net0"),
        (json!({"v0": {"name": "net%d"}, "v1": {"name": "net%d"}}), " lo net0 net1"),
        (json!({"v0": {"name": "v1"}, "v1": {"name": "v0"}}), " lo v1 v0"),
    ] {
        let script = format!("{names}; echo; ip -o link | grep -vc UP");
        let ran = run(&room, PAIR, moves(devices.clone()), &script, "");
        let mut names: Vec<&str> = ran.stdout.lines().next().unwrap_or_default().split(' ').collect();
        let mut wanted: Vec<&str> = names_inside.split(' ').collect();
        names.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "{devices} {ran:#?}");
        assert_eq!(ran.stdout.lines().nth(1), Some("0"), "all are up: {ran:#?}");
    }
}

/// A namespace by path outlives the container, and the device stays in it.
#[test]
fn a_device_stays_in_a_namespace_that_stays() {
    needs!(root, "busybox", "ip", "unshare", "nsenter");
    let room = room();
    let devices = format!(
        "unshare --net sleep 100 & theirs=$!; trap 'kill $theirs' EXIT; {PAIR}
        until [ \"$(readlink /proc/$theirs/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do :; done
        mkdir -p ns; : >ns/net; mount --bind /proc/$theirs/ns/net ns/net
        trap 'umount ns/net; kill $theirs' EXIT; ip addr add 192.0.2.1/24 dev v0"
    );
    let path = room.path("ns/net");
    let joins = |config: &mut Value| {
        config["linux"]["netDevices"] = json!({"v0": {"name": "eth0"}});
        let kinds = config["linux"]["namespaces"].as_array_mut().unwrap();
        kinds.iter_mut().find(|kind| kind["type"] == "network").unwrap()["path"] = json!(path);
    };
    let after = "nsenter --net=ns/net ip -o -4 addr show; ip -o link | grep -c v0@; ctr-spawn box; true";
    let ran = run(&room, &devices, joins, "ip -o -4 addr show eth0", after);
    let addresses = ran.stdout.lines().filter(|line| line.contains("eth0") && line.contains("192.0.2.1/24")).count();
    assert_eq!((ran.code, addresses, ran.stdout.lines().last()), (0, 2, Some("0")), "{ran:#?}");
    assert!(ran.stderr.contains("network device: v0: not on this host"), "{ran:#?}");
}

/// What cannot be is said in a line, and no device has moved.
#[test]
fn a_device_that_cannot_move_is_refused() {
    needs!(root, "busybox", "ip", "unshare");
    let room = room();
    for (devices, words) in [
        (json!({"nosuch": {}}), "network device: nosuch: not on this host"),
        (
            json!({"v0": {}, "v1": {"name": "lo"}}),
            "network device: lo: the container's network namespace has one of that name",
        ),
        (json!({"v0": {}, "w": {}}), "network device: w: not on this host"),
        (json!({"v0": {"name": "sixteen--letters"}}), "\"sixteen--letters\": no name of 1 to 15 letters"),
        (json!({"v0": {"name": "a/b"}}), "\"a/b\": no name of"),
        (json!({"a b": {}}), "\"a b\": no name of"),
        (json!({"v0": {"name": "x"}, "v1": {"name": "x"}}), "network device: x: twice"),
        (json!({"lo": {"name": "x"}}), "network device: RTM_NEWLINK(lo, <network namespace>, x): Invalid argument"),
    ] {
        let ran = run(&room, PAIR, moves(devices), "true", "ip -o link | grep -c 'v[01]@'");
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (125, "2\n", 1), "{ran:#?}");
        assert!(ran.stderr.contains(words), "{words}: {ran:#?}");
    }
    for namespaces in
        [json!([{"type": "mount"}]), json!([{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/net"}])]
    {
        let change = |config: &mut Value| {
            config["linux"]["netDevices"] = json!({"v0": {}});
            config["linux"]["namespaces"] = namespaces;
            config.as_object_mut().unwrap().remove("hostname");
            config["mounts"] = json!([]);
        };
        run(&room, PAIR, change, "true", "").fails(125, "linux.netDevices: without a network namespace of its own");
    }
}

/// The sysctls of a device that was not there before; hooks see it where it is.
#[test]
fn what_follows_finds_the_device() {
    needs!(root, "busybox", "ip", "unshare", "nsenter");
    let room = room();
    let file = room.path("hook");
    let hook = format!(
        "nsenter --net=/proc/$(tr , '\\n' | sed -n 's/.*\"pid\": *//p' | tr -dc 0-9)/ns/net ip -o link show eth0 >{}",
        file.display()
    );
    let change = |config: &mut Value| {
        config["linux"]["netDevices"] = json!({"v0": {"name": "eth0"}});
        config["linux"]["sysctl"] = json!({"net.ipv4.conf.eth0.forwarding": "1"});
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", hook]}]});
    };
    let ran = run(&room, PAIR, change, "cat /proc/sys/net/ipv4/conf/eth0/forwarding", "");
    assert_eq!(ran.ok(), "1");
    assert!(
        std::fs::read_to_string(&file).unwrap().contains("eth0"),
        "the hook of the moment behind it sees the device"
    );
}
