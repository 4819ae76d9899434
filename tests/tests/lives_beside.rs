//! Lives of containers, told as scripts and lived under docker's daemon and here: the same words on stdout, the same
//! exit codes.

use dock_tests::dockerd::Dockerd;
use dock_tests::image::{dock, image};
use dock_tests::{Room, needs};

/// `$D` is the program; each script begins in an empty directory and removes what it makes.
const LIVES: [&str; 12] = [
    // What options come to, seen from inside.
    r#"printf 'A=1\n#c\nB=two words\n' >e
    $D run --rm --network none --env-file e -e D=4 -h web.example.com -u www --group-add 77 box sh -c 'echo $A $B $D; hostname; id'
    $D run --rm --network none --dns 8.8.8.8 --dns-search x.y --dns-opt ndots:2 --ulimit nofile=100:200 --oom-score-adj 300 \
        box sh -c 'cat /etc/resolv.conf /proc/self/oom_score_adj; ulimit -n; ulimit -Hn'
    $D run --rm --network none --tmpfs /run:rw,noexec,size=64k --read-only --device /dev/zero:/dev/nulo --shm-size 1m \
        box sh -c 'grep -E " /(run|dev/shm) " /proc/mounts | busybox cut -d" " -f2,4 | busybox sort; touch /x; echo $?; ls /dev/nulo'
    $D run --rm --network none --read-only box sh -c 'for f in hosts hostname resolv.conf; do echo x >>/etc/$f; echo $?; done'
    $D run --rm --network host box cat /etc/hosts
    $D run --rm --network none box sh -c 'ls -A / /etc; wc -c </.dockerenv; readlink /etc/mtab'"#,
    // Input, output, the end, and once more.
    "echo in | $D run -i --network none --name a box sh -c 'cat; echo err >&2; exit 42'; echo $?
    $D logs a; $D logs --tail 0 a; $D inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.Path}} {{.Args}}' a
    $D start -a a; echo $?; $D wait a; $D diff a; $D rm a
    $D run --rm --network none box nosuch; echo $?; $D run --rm --network none box /etc; echo $?
    $D run --rm --init --network none box sh -c 'kill -TERM $$; sleep 9'; echo $?",
    // Files in and out, and an image of them.
    "mkdir h; echo hello >h/f; $D create --name b --network none box cat /in/f | wc -c
    $D cp h/f b:/tmp/; $D cp h b:/in; $D start -a b; $D cp b:/tmp/f - | tar -tf -; $D diff b | sort
    $D export b | tar -tf - | grep -v '^dev/.' | sort; $D commit -m said -c 'ENV Z=1' b snap >/dev/null
    $D history --no-trunc --format '{{.CreatedBy}} {{.Comment}}' snap | head -1
    $D run --rm --network none snap sh -c 'cat /in/f; echo $Z'; $D rm b; $D rmi snap | grep -c Untagged",
    // A volume, and who uses it.
    "$D run --name c --network none -v vol:/x box sh -c 'echo 1 >/x/f'
    $D run --rm --network none --volumes-from c:ro box sh -c 'cat /x/f; touch /x/g; echo $?'
    $D create --name mm --network none -v vol:/a -v vol:/b:ro --mount src=vol,dst=/c --mount dst=/d -v /e -v /etc:/f --mount type=bind,src=/etc,dst=/g box >/dev/null
    $D inspect -f '{{range .Mounts}}{{.Destination}} {{.Type}} {{.Mode}} {{.RW}} {{.Propagation}};{{end}}' mm | tr ';' '\n' | sort; $D rm -v mm
    $D volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}}' vol; $D volume rm vol; echo $?
    $D rm -v c; $D volume rm vol; $D volume ls -q",
    // Where lines come from, and which.
    "$D run -d --name cc --network none box sh -c 'i=0; while [ $i -lt 5 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done; sleep 100' >/dev/null; sleep 1
    $D logs cc 2>/dev/null; $D logs cc 2>&1 >/dev/null; $D logs -n 2 cc 2>&1 | wc -l; $D logs --tail 0 cc; $D logs --tail -1 cc 2>&1 | wc -l
    $D logs --since 1h cc | wc -l; $D logs --until 1h cc | wc -l; $D logs -t cc | head -1 | sed 's/[0-9]/N/g'; timeout 1 $D logs -f cc | wc -l
    $D stop -t 0 cc; $D logs -f cc | wc -l; $D rm cc",
    // Health and restarts.
    "$D run -d --name aa --network none --health-cmd 'test -e /ok' --health-interval 1s --health-retries 1 box sleep 100 >/dev/null
    until $D ps | grep -q unhealthy; do sleep .2; done; $D exec aa sh -c ': >/ok'; until $D ps -q --filter health=healthy | grep -q .; do sleep .2; done
    $D inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' aa; $D ps --format '{{.Names}} {{.Status}}' | sed 's/Up .* (/Up (/'; $D rm -f aa
    $D run -d --restart on-failure:2 --name bb --network none box sh -c 'echo x; exit 3' >/dev/null
    until $D inspect -f '{{.State.Status}} {{.RestartCount}}' bb | grep 'exited 2'; do sleep .2; done; $D wait bb; $D logs bb | wc -l; $D rm bb",
    // Other limits; what a pause forbids.
    "$D run -d --name gg --network none --cpus .5 -m 100m box sleep 100 >/dev/null; $D update -m 200m --memory-swap 300m gg
    $D inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}' gg; $D update --cpus 1 --restart always gg
    $D inspect -f '{{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}}' gg; $D update --cpu-shares 2 --pids-limit 50 gg
    $D inspect -f '{{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}}' gg; $D update -m 400m gg; echo $?; $D stats --no-stream --format '{{.Name}} {{.PIDs}}' gg
    $D pause gg; $D exec gg true; echo $?; $D stop -t 0 gg; $D start gg; $D rm -f gg",
    // Streams, and who gets them.
    "$D run -i --name hh --network none box cat </dev/null; echo $?; echo in | $D run -i --rm --network none box cat; echo in | $D run --rm --network none box cat
    $D run --rm -a stdout --network none box sh -c 'echo o; echo e >&2'; $D run --rm -a stderr --network none box sh -c 'echo o; echo e >&2' 2>/dev/null
    $D start -ai hh </dev/null; $D attach hh; echo $?; $D run --rm --network none --entrypoint '' box; echo $?; $D run --rm --network none --entrypoint echo box a b
    $D run --rm --network none box -c 'exit 4'; echo $?; $D rm hh",
    // Lists and their filters.
    "$D create --name ii --network none --label k=v box >/dev/null; $D create --name jj --network none -v vol9:/x box >/dev/null; $D run --name kk --network none box false
    for f in name=ii label=k label=k=w status=created status=exited exited=1 ancestor=box ancestor=box:latest volume=vol9 volume=/x network=none before=jj since=ii id=zz is-task=true
    do $D ps -a --format '{{.Names}}' --filter $f | sort | tr '\n' ' '; echo $f; done; $D ps -a --format 'table {{.Names}}\t{{.Image}}\t{{.Command}}'
    $D ps -l --format '{{.Names}} {{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.RunningFor}}' | sed 's/[0-9L].*ago//'; $D rm ii jj kk; $D volume rm vol9",
    // In the background, with a neighbour.
    "$D run -d --network none --name d box sleep 100 | wc -c
    $D run --rm --network container:d --pid container:d box sh -c 'ps -o args | grep -c \"^sleep\"'
    $D top d -o args | tail -1; $D port d; $D rm d; echo $?; $D exec -e X=1 -w /tmp -u 33 d sh -c 'echo $X; pwd; id -u; exit 9'; echo $?
    echo in | $D exec -i d cat; $D rename d e; $D kill -s KILL e; $D inspect -f '{{.State.ExitCode}} {{.Name}}' e
    $D run --rm --network container:e box true; echo $?; $D rm -f e",
    // Starts that fail: what was never alive is only created, what was keeps its life; and it is written down when it is told.
    r#"$D create --name ff --network none box nosuch >/dev/null; $D start ff; echo $?
    $D inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}}' ff; $D ps -a --format '{{.Names}} {{.State}} {{.Status}}'
    $D wait ff; for f in exited=127 status=created status=exited; do $D ps -aq --filter $f | wc -l; done
    $D restart ff 2>&1 | grep -o '.*Cannot restart container ff: '; $D stop ff; $D rm ff
    $D run -d --network none --name gg box nosuch | wc -c; $D ps -a --format '{{.Names}} {{.State}}'; $D container prune -f | grep -c .
    $D run -d --rm --network none --name gg box nosuch | wc -c; $D ps -aq
    $D run --network none --name hh box sh -c 'rm /bin/sh; exit 3'; echo $?; $D start hh; echo $?
    $D inspect -f '{{.State.Status}} {{.State.ExitCode}}' hh; $D wait hh; $D rm hh"#,
    // The signals that end it.
    r#"$D run -d --name ii --network none box sh -c 'trap "exit 7" USR1; while :; do sleep .1; done' >/dev/null
    $D kill -s USR1 ii; $D wait ii; $D start ii; $D kill -s '' ii; $D wait ii; $D logs --since x ii; echo $?; $D rm ii"#,
];

#[test]
fn a_life_is_as_it_is_under_docker() {
    needs!(root, "busybox", "dockerd", "docker");
    let room = Room::new();
    image(&room, "", "-t box -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin'");
    room.sh("img-save box >box.tar").ok();
    let Some(docker) = Dockerd::start(&room) else { return };
    docker.docker(&["load", "-i", room.path("box.tar").to_str().expect("UTF-8")]).expect("load");
    for (at, life) in LIVES.iter().enumerate() {
        let client =
            format!("DOCKER_HOST={} DOCKER_CONFIG=$PWD/cfg; export DOCKER_HOST DOCKER_CONFIG; D=docker", docker.host());
        let [theirs, ours] = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| room.sh(&format!("mkdir -p theirs{at}; cd theirs{at}; {client}\n{life}")));
            let ours = dock(&room, &format!("mkdir -p ours{at}; cd ours{at}; D=dock\n{life}"));
            [theirs.join().expect("docker"), ours]
        });
        assert_eq!((ours.code, &ours.stdout), (theirs.code, &theirs.stdout), "{ours:#?} {theirs:#?}");
    }
}
