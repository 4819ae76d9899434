//! The images that people build first: hello-world from scratch, and the page counter of a compose project, a Flask
//! application and its redis. A page by RUN echo and an editor by RUN install are in rows.rs.

use dock_tests::{Room, dockerd::Dockerd, needs, top};
use serde_json::{Value, json};

/// As large as its binary, without privilege; here, in dockerd and in podman it greets, and its history has two steps.
#[test]
fn a15_hello_world_from_scratch() {
    needs!(root, "setpriv", "dockerd", "/usr/bin/docker", "podman", "runc", "jq");
    let room = Room::of_user(4321);
    room.sh(&format!(
        "mkdir ctx && cp {}/Dockerfile {}/hello ctx && strip ctx/hello",
        top().join("examples/hello").display(),
        dock_tests::bin().display()
    ))
    .ok();
    let id = room.sh("dock build -q -t hello ctx").ok();
    let shown: Value = serde_json::from_str(&room.sh("dock inspect hello").ok()).unwrap();
    assert_eq!((&shown[0]["Config"]["Cmd"], &shown[0]["Id"]), (&json!(["/hello"]), &json!(id)));
    assert_eq!(shown[0]["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    let steps = "dock history --format '{{.CreatedBy}}' --no-trunc hello";
    assert_eq!(room.sh(steps).ok(), "CMD [\"/hello\"]\nCOPY hello / # buildkit");
    // One tar header for the file, its blocks, and the end of the tar; the small documents beside it.
    let size = |name: &str| room.path(name).metadata().unwrap().len();
    room.sh("img-unpack --flat hello box && cmp ctx/hello box/rootfs/hello && [ $(ls -A box/rootfs) = hello ]").ok();
    room.sh("img-save hello >hello.tar && img-fsck").ok();
    assert!(size("hello.tar") < size("ctx/hello") + 16 * 1024, "{} {}", size("hello.tar"), size("ctx/hello"));
    let greets = |ran: String| assert!(ran.starts_with("Hello from a container that no daemon runs.\n"), "{ran}");
    let machine = Room::new();
    let archive = room.path("hello.tar").display().to_string();
    greets(
        machine
            .sh(&format!("dock load -q -i {archive} && dock run --rm hello"))
            .ok()
            .split_off("Loaded image: hello:latest\n".len()),
    );
    let podman = machine.podman();
    machine.sh(&format!("{podman} load -q -i {archive}")).ok();
    greets(machine.sh(&format!("{podman} run --rm --network none --log-driver none hello")).ok());
    machine.sh(&format!("{podman} rmi -f hello >/dev/null")).ok();
    let Some(dockerd) = Dockerd::start(&machine) else { return };
    dockerd.docker(&["load", "-q", "-i", &archive]).unwrap();
    assert_eq!(dockerd.docker(&["image", "inspect", "-f", "{{.Id}}", "hello"]).unwrap(), id);
    greets(dockerd.docker(&["run", "--rm", "--network", "none", "hello"]).unwrap());
}

/// Both images of the compose project that docker's guide starts with, on a debootstrapped Debian with Debian's own
/// packages: nothing is fetched meanwhile. The application finds its redis by name in the network that they share.
#[test]
fn e_redis_and_flask_count_their_visitors() {
    needs!(root, "dpkg-deb", "debootstrap");
    let room = Room::new();
    let run = |script: &str| room.sh(&top().join("tests").join(script).display().to_string());
    let (debian, packages) = (run("debian"), run("packages"));
    if debian.code != 0 || packages.code != 0 {
        return dock_tests::skip("needs a debootstrapped system and its packages");
    }
    room.sh(&format!("img-append --base scratch -t debian --layer {} >/dev/null", debian.ok())).ok();
    room.write(
        "base/Dockerfile",
        "FROM debian AS apt\nENV DEBIAN_FRONTEND=noninteractive\n\
         RUN echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list && printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d \\\n\
         && chmod 755 /usr/sbin/policy-rc.d\n\
         RUN --mount=from=packages,target=/repo apt-get -qq update\n\
         FROM apt AS redis\n\
         RUN --mount=from=packages,target=/repo apt-get -qq install -y --no-install-recommends redis-server\n\
         EXPOSE 6379\nVOLUME /data\nWORKDIR /data\nUSER redis\nCMD [\"redis-server\"]\n\
         FROM apt AS python\n\
         RUN --mount=from=packages,target=/repo apt-get -qq install -y --no-install-recommends python3-flask python3-redis\n",
    );
    for image in ["redis", "python"] {
        let packages = packages.stdout.trim();
        room.sh(&format!("dock build -q -t {image} --target {image} --build-context packages={packages} base")).ok();
    }
    room.write(
        "web/app.py",
        "import redis\nfrom flask import Flask\n\napp = Flask(__name__)\ncache = redis.Redis(host='redis', port=6379)\n\n\
         @app.route('/')\ndef hello():\n    return f'Hello World! I have been seen {cache.incr(\"hits\")} times.\\n'\n",
    );
    room.write(
        "web/Dockerfile",
        "FROM python\nWORKDIR /code\nENV FLASK_APP=app.py\nENV FLASK_RUN_HOST=0.0.0.0\nEXPOSE 5000\nCOPY . .\nCMD [\"flask\", \"run\"]\n",
    );
    room.sh("dock build -q -t web web && img-fsck").ok();
    room.sh(
        "dock run -d --name redis --network none --add-host redis:127.0.0.1 redis && dock run -d --name web --network container:redis web",
    )
    .ok();
    let ask = "import time, urllib.request, urllib.error\nfor n in range(600):\n    try:\n        print(urllib.request.urlopen('http://localhost:5000').read().decode(), end='')\n        break\n    except urllib.error.URLError:\n        time.sleep(0.1)\n";
    room.write("ask.py", ask);
    let answers = room.sh("for n in 1 2; do dock exec -i web python3 - <ask.py; done; dock exec redis redis-cli ping; dock exec redis redis-cli get hits");
    let logs = room.sh("dock logs web; dock logs redis; dock rm -f -v web redis");
    assert_eq!(
        answers.stdout, "Hello World! I have been seen 1 times.\nHello World! I have been seen 2 times.\nPONG\n2\n",
        "{answers:?} {logs:?}"
    );
}
