//! Mistakes of a container's life, made beside a real docker: the same exit code, the same first line, and behind it the
//! same hint where to read.

use dock_tests::{Room, dockerd::Dockerd, needs, top};
use std::process::{Command, Stdio};

/// Command lines without the name of the program. A container `web` runs, `made` was only created.
const MISTAKES: [&str; 160] = [
    "attach nosuch",
    "attach --no-stdin nosuch",
    "start nosuch",
    "start web nosuch",
    "start -a nosuch",
    "start -a web made",
    "stop nosuch",
    "stop made nosuch other",
    "stop -t x web",
    "restart nosuch",
    "kill nosuch",
    "kill nosuch other",
    "kill made",
    "kill -s BAD web",
    "rm nosuch other",
    "rm -x web",
    "pause nosuch",
    "pause made",
    "unpause web",
    "wait nosuch",
    "wait -x",
    "top nosuch",
    "top made",
    "logs nosuch",
    "logs -x web",
    "exec nosuch true",
    "exec --env-file /nosuch web true",
    "exec -e =x web true",
    "logs --since x web",
    "rename web web",
    "rename web made",
    "rename nosuch x",
    "rename web ''",
    "rename web 'a b'",
    "update nosuch --memory 9m",
    "update --memory 1k web",
    "update web",
    "commit nosuch x",
    "commit web bad:name:x",
    "diff nosuch",
    "export nosuch",
    "run -d --name web busybox true",
    "run --name 'bad name' busybox true",
    "run --pull never nosuch:1 true",
    "run -m 1k busybox true",
    "run -m xx busybox true",
    "run -m 10m --memory-swap 5m busybox true",
    "run --memory-swap 5m busybox true",
    "run --cpus x busybox true",
    "run --cpus 1000 busybox true",
    "run --cpuset-cpus a busybox true",
    "run --cpuset-cpus 99 busybox true",
    "run --shm-size x busybox true",
    "run --ulimit nofile busybox true",
    "run --ulimit bad=1 busybox true",
    "run --oom-score-adj 2000 busybox true",
    "run --restart always:3 busybox true",
    "run -v /a:/b:zz busybox true",
    "run -v a/b:/x busybox true",
    "run -v x:/y:ro,rw busybox true",
    "run --mount type=bad,target=/x busybox true",
    "run --mount type=bind,source=/nosuch,target=/x busybox true",
    "run --mount type=volume,target=x busybox true",
    "run --mount type=volume,source=v busybox true",
    "run --mount foo busybox true",
    "run --tmpfs x busybox true",
    "run --tmpfs /x:bad=1 busybox true",
    "run --volumes-from nosuch busybox true",
    "run -e =x busybox true",
    "run --env-file /nosuch busybox true",
    "run -u nosuch busybox true",
    "run -w rel busybox true",
    "run --network nosuch busybox true",
    "run --pid container:nosuch busybox true",
    "run --pid bad busybox true",
    "run --ipc bad busybox true",
    "run --stop-signal BAD busybox true",
    "run --log-driver bad busybox true",
    "run --log-opt bad=1 busybox true",
    "run --log-opt max-size=x busybox true",
    "run --health-interval 1us busybox true",
    "run --no-healthcheck --health-cmd x busybox true",
    "run --add-host bad busybox true",
    "run --cidfile /etc/passwd busybox true",
    "run 'bad image' true",
    "run --pids-limit x busybox true",
    "run --pids-limit 99999999999999999999 busybox true",
    "run --memory-swappiness x busybox true",
    "run --memory-swappiness 101 busybox true",
    "run --oom-score-adj x busybox true",
    "run --stop-timeout x busybox true",
    "run -c x busybox true",
    "run --cpu-period x busybox true",
    "run --cpu-quota 1.5 busybox true",
    "run --cpu-rt-runtime '' busybox true",
    "run --blkio-weight x busybox true",
    "run --blkio-weight -1 busybox true",
    "run --blkio-weight 70000 busybox true",
    "run --blkio-weight-device /dev/zero:5 busybox true",
    "run --device-read-bps x busybox true",
    "run --device-write-bps /dev/zero:x busybox true",
    "run --device-read-iops /x:1 busybox true",
    "run --device-write-iops /dev/zero:-1 busybox true",
    "run --device x busybox true",
    "run --device a:b:c:d busybox true",
    "run --device-cgroup-rule x busybox true",
    "run --health-interval x busybox true",
    "run --health-interval 5 busybox true",
    "run --health-retries x busybox true",
    "run --health-retries -1 busybox true",
    "run --ulimit nofile=x busybox true",
    "run --ulimit nofile=1:2:3 busybox true",
    "run --ulimit nofile=5:1 busybox true",
    "run --cap-add BAD busybox true",
    "run --cap-drop cap_bad busybox true",
    "run --security-opt seccomp=/nosuch busybox true",
    "run --log-opt x busybox true",
    "run --expose x busybox true",
    "run --expose '' busybox true",
    "run --expose 90-80 busybox true",
    "run --expose 99999 busybox true",
    "run --expose 80: busybox true",
    "run --rm=x busybox true",
    "run -it=x busybox true",
    "run --no-healthcheck=x busybox true",
    "run --sig-proxy=x busybox true",
    "run -itz busybox true",
    "run -d --name",
    "run -dm",
    "create --pids-limit x busybox true",
    "create --sig-proxy=false busybox true",
    "exec -it=x web true",
    "exec --privileged=x web true",
    "exec -iu",
    "update --cpu-shares x web",
    "update --blkio-weight x web",
    "ps -n x",
    "ps -f expose=x",
    "ps -f publish=80-x/udp",
    "restart -t x web",
    "attach made",
    "stats --no-stream --format '{{.Nope}}' web",
    "run a:b:c true",
    "rename web /",
    "rename web //x",
    "kill -s 70 web",
    "kill -s 0 web",
    "kill -s RTMAX+1 web",
    "rm -f nosuch other",
    "container prune -f --filter until=x",
    "container prune -f --filter foo=x",
    "container prune -f --filter label",
    "container prune -a",
    "image prune -f --filter until=x",
    "image prune -f --filter foo=x",
    "system prune -f --filter until=x",
    "system prune -f --filter foo=x",
    "system prune -f --volumes --filter until=1h",
    "events --since x",
    "events --until x",
];

/// Exit code, the first line of stderr and, where that is the client's own, the one that starts with See. For run docker's client ends its line with a full stop, and its versions do
/// not agree on who says that there is no such container.
fn answer(program: &str, line: &str, room: &Room, host: &str) -> (i32, String) {
    let output = Command::new("sh")
        .args(["-c", &format!("{program} {line}")])
        .current_dir(room.path(""))
        .env("PATH", format!("{}:/usr/bin:/usr/sbin:/bin:/sbin", dock_tests::bin().display()))
        .env("DOCKER_HOST", host)
        .env("DOCKER_CONFIG", room.path("dockerd"))
        .env("DOCK_ROOT", room.path("root"))
        .env("DOCK_RUN", room.path("run"))
        .stdin(Stdio::null())
        .output()
        .expect("shell");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // Of a container that ends before it has begun docker's client says, now and then, that it has stopped waiting.
    let first = text.lines().find(|line| !line.starts_with("time=\""));
    let first = first.unwrap_or_default().trim_end_matches('.');
    let first = first.strip_prefix("docker: ").map_or_else(|| first.to_owned(), |words| format!("dock: {words}"));
    let first = first.replace("Error: No such container", "Error response from daemon: No such container");
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = first.split(' ').map(|word| if is_id(word.trim_matches(['"', '.'])) { "<ID>" } else { word });
    let mut lines = text.lines().filter(|_| !first.contains("Error response from daemon"));
    let see = lines.find(|line| line.starts_with("See '")).unwrap_or_default().replace("docker", "dock");
    (
        output.status.code().unwrap_or(255),
        words.chain([see.as_str()]).collect::<Vec<_>>().join(" ").trim_end().to_owned(),
    )
}

#[test]
fn mistakes_are_answered_as_docker_answers_them() {
    needs!(root, "busybox", "dash", "dockerd", "docker");
    let room = Room::new();
    let Some(docker) = Dockerd::start(&room) else { return };
    room.sh("mkdir -p t/bin t/etc && cp \"$(command -v busybox)\" t/bin/busybox && ln -s busybox t/bin/sh && ln -s busybox t/bin/sleep \
        && echo root:x:0:0::/:/bin/sh >t/etc/passwd && echo root:x:0: >t/etc/group && tar -C t -cf t.tar . \
        && img-append --base scratch --layer t.tar -c 'CMD [\"sh\"]' -t busybox && img-save -o all.tar busybox")
        .ok();
    let dock = format!("dash {}", top().join("tools/dock/dock").display());
    let host = docker.host();
    let both = |line: &str| {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| answer("docker", line, &room, &host));
            let ours = answer(&dock, line, &room, &host);
            [theirs.join().expect("docker"), ours]
        })
    };
    docker.docker(&["load", "-i", &room.path("all.tar").display().to_string()]).unwrap();
    for line in ["run -d --name web --network none busybox sleep 600", "create --name made --network none busybox"] {
        assert_eq!(both(line), [(0, String::new()), (0, String::new())], "{line}");
    }
    let differences: Vec<_> = MISTAKES.iter().map(|line| (line, both(line))).filter(|(_, [a, b])| a != b).collect();
    let after = both("rm -f web made");
    assert!(differences.is_empty(), "docker, then dock: {differences:#?}");
    assert_eq!(after, [(0, String::new()), (0, String::new())], "nothing of it has changed what is there");
    assert_eq!(room.sh("ls -A root/containers | grep -v lock | wc -l").ok(), "0", "what was refused leaves nothing");
}
