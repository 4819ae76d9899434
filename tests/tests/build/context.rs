//! Where a build comes from: directories, archives on stdin, named contexts, git.

use super::{build, config, unpacked};
use dock_tests::{Room, needs};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

#[test]
fn dockerignore_takes_files_out_of_the_context() {
    needs!(root);
    let room = Room::new();
    for name in
        ["a.md", "README.md", "src/x.o", "src/x.c", "node_modules/m/i.js", "keep/deep/k", "keep/other", "secret"]
    {
        room.write(&format!("ctx/{name}"), name);
    }
    room.write(
        "ctx/.dockerignore",
        "# comment\n*.md\n!README.md\n**/*.o\nnode_modules\nkeep\n!keep/deep\nsecret\nDockerfile\n.dockerignore\n",
    );
    build(&room, "FROM scratch\nCOPY . /\n", "");
    let files = |room: &Room| room.sh("cd box/rootfs && find . -type f -printf '%P\\n' | sort").ok();
    assert_eq!(files(&room), "README.md\nkeep/deep/k\nsrc/x.c");
    room.sh("ln -s secret ctx/alias").ok();
    for source in ["secret", "alias"] {
        room.write("ctx/Dockerfile", format!("FROM scratch\nCOPY {source} /\n"));
        room.sh("dfile-build -q ctx").fails(1, ".dockerignore excludes it");
    }
    room.write("other", "FROM scratch\nCOPY . /\n");
    room.write("other.dockerignore", "*\n!secret\n");
    room.sh("dfile-build -q -f other -t it ctx").ok();
    config(&room, "it");
    assert_eq!(files(&room), "secret");
}

#[test]
fn a_context_on_stdin() {
    needs!(root, "tar", "gzip", "bzip2", "xz", "zstd");
    let room = Room::new();
    for name in ["a", "d/b", "d/ignored", "sub/Other"] {
        room.write(&format!("ctx/{name}"), name);
    }
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY . /\n");
    room.write("ctx/sub/Other", "FROM scratch\nCOPY d /\n");
    room.write("ctx/.dockerignore", "**/ignored\nDockerfile\n.dockerignore\nsub\n");
    room.sh("tar -C ctx -cf c.tar .").ok();
    for pack in ["cat", "gzip -c", "bzip2 -c", "xz -c", "zstd -q -c"] {
        room.sh(&format!("{pack} <c.tar | dfile-build -q -t it -")).ok();
        assert_eq!(unpacked(&room, "it"), "a d/b", "{pack}");
    }
    room.sh("dfile-build -q -t other -f sub/Other - <c.tar").ok();
    assert_eq!(unpacked(&room, "other"), "b");
    room.sh("printf 'FROM scratch\nCOPY <<E /only\nx\nE\n' | dfile-build -q -t bare -").ok();
    assert_eq!(unpacked(&room, "bare"), "only");
    room.sh("printf 'FROM scratch\nCOPY a /\n' | dfile-build -q -").fails(1, "<stdin>:2: COPY: a: not found");
    room.sh("printf 'FROM scratch\nCOPY a /\n' | dfile-build -q -t it -f - ctx").ok();
    assert_eq!(unpacked(&room, "it"), "a");
    room.sh("dfile-build -f - - <c.tar").fails(2, "can't use stdin for both build context and dockerfile");
    room.sh("dfile-build - </dev/null").fails(1, "<stdin>: empty");
    assert_eq!(room.sh("ls root/cache").stdout.matches("build-").count(), 0, "nothing is left");
}

/// The walker of layers unpacks contexts, too.
#[test]
fn a_hostile_context_stays_in_its_place() {
    needs!(root, "tar");
    let room = Room::new();
    room.write("outside", "secret");
    room.sh("mkdir -p t/d && echo FROM scratch >t/Dockerfile && echo 1 >t/d/f").ok();
    room.sh("cd t && tar cPf ../evil.tar --transform 's,^d/f,../../outside,' Dockerfile d/f").ok();
    room.sh("dfile-build -q - <evil.tar").fails(1, "<stdin>: ");
    assert_eq!(room.sh("cat outside").ok(), "secret");
    // A link, and then what is said to be behind it.
    room.sh("mkdir -p victim a/l b && ln -s $PWD/victim b/l && echo evil >a/l/evil && tar -cf through.tar -C t Dockerfile -C ../b l -C ../a l/evil").ok();
    let ran = room.sh("dfile-build -q - <through.tar; ls victim");
    assert!(!ran.stdout.contains("evil"), "{ran:#?}");
    // A Dockerfile that is a link to a file of the machine is looked up inside the context.
    room.sh("cd t && rm Dockerfile && ln -s /etc/hostname Dockerfile && tar cf ../link.tar .").ok();
    room.sh("dfile-build -q - <link.tar").fails(1, "Dockerfile: not found in the context");
    room.sh("cd t && rm Dockerfile && printf 'FROM scratch\nCOPY l /x\n' >Dockerfile && ln -s /etc/hostname l && tar cf ../copy.tar .").ok();
    room.sh("dfile-build -q - <copy.tar").fails(1, "Dockerfile:2: COPY: l: not found");
}

#[test]
fn named_contexts() {
    needs!(root, "jq");
    let room = Room::new();
    room.write("ctx/f", "f");
    room.write("other/g", "g");
    room.write("other/h", "h");
    room.write("other/.dockerignore", "h\n.dockerignore\n");
    room.write("base/Dockerfile", "FROM scratch\nCOPY <<E /of-base\nx\nE\nENV B=1\n");
    room.sh("dfile-build -q -t base -o type=oci,tar=false,dest=lay -t base:1 base && dfile-build -q -t stored base")
        .ok();
    room.write("ctx/Dockerfile", "FROM alpine\nCOPY --from=files g /\nCOPY f /\n");
    let build = |options: &str| room.sh(&format!("dfile-build -q -t it --build-context files=other {options} ctx"));
    for place in ["oci-layout://lay:base", "docker-image://stored"] {
        build(&format!("--build-context alpine={place}")).ok();
        assert_eq!(unpacked(&room, "it"), "f g of-base", "{place}");
        assert_eq!(room.sh("jq -c .config.Env[-1:] box/image.json").ok(), "[\"B=1\"]");
    }
    build("--build-context alpine=oci-layout://lay").fails(1, "holds several images");
    build("--build-context alpine=other").fails(1, "Dockerfile:1: alpine: a directory is no base");
    build("--build-context alpine").fails(2, "want NAME=PLACE");
    room.write("ctx/Dockerfile", "FROM scratch\nCOPY --from=files h /\n");
    build("").fails(1, ".dockerignore excludes it");
    room.sh("ls lay/index.json lay/oci-layout && img-fsck lay").ok();
}

/// git's own server over a directory of bare repositories, for each connection one, as inetd(8) would start it:
/// so the port is the test's own from the first moment on. Its thread ends with the test process.
struct Daemon(u16);

impl Daemon {
    fn start(room: &Room) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = format!("--base-path={}", room.path("served").display());
        let program = format!("{}/git-daemon", room.sh("git --exec-path").ok());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let end = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
                let mut daemon = Command::new(&program);
                daemon.args(["--inetd", "--export-all", &base]).stdin(end()).stdout(end()).stderr(Stdio::null());
                let _ = daemon.status();
            }
        });
        Self(port)
    }

    fn url(&self) -> String {
        format!("git://127.0.0.1:{}/r.git", self.0)
    }
}

#[test]
fn git_contexts_and_git_sources() {
    needs!(root, "git");
    let room = Room::new();
    room.sh(
        "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE='2001-09-09T01:46:40Z' GIT_COMMITTER_DATE='2001-09-09T01:46:40Z'
         git init -q -b main w && cd w && git config user.email a@b && git config user.name n
         mkdir -p sub && echo one >f && printf 'FROM scratch\nCOPY f /\n' >Dockerfile && printf 'FROM scratch\nCOPY x /\n' >sub/Dockerfile && echo x >sub/x
         ln -s .. up; ln -s /etc abs; git add . && git commit -q -m 1 && git tag v1 && git rev-parse HEAD >../first
         echo two >f && git commit -q -a -m 2 && git clone -q --bare . ../served/r.git",
    )
    .ok();
    let daemon = Daemon::start(&room);
    let url = daemon.url();
    let first = room.sh("cat first").ok();
    for (fragment, file, content) in [
        (String::new(), "f", "two"),
        ("#v1".into(), "f", "one"),
        ("#main:sub".into(), "x", "x"),
        (format!("#{first}"), "f", "one"),
        ("#:/sub/".into(), "x", "x"),
    ] {
        room.sh(&format!("dfile-build -q -t it '{url}{fragment}'")).ok();
        assert_eq!(unpacked(&room, "it"), file, "{fragment}");
        assert_eq!(room.sh(&format!("cat box/rootfs/{file}")).ok(), content);
    }
    room.sh(&format!("printf 'FROM scratch\nCOPY .git/HEAD /\n' | dfile-build -q -f - --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1 {url}"))
        .ok();
    // The same commit is the same image, whenever it is fetched.
    let digest = || room.sh(&format!("dfile-build -q --no-cache {url} | jq -r .descriptor.digest")).ok();
    let one = digest();
    room.sh("sleep 1.1").ok();
    assert_eq!(digest(), one);
    assert_eq!(
        room.sh(&format!("dfile-build -q -t it {url} && img-inspect it | jq -r .Created")).ok().lines().last(),
        Some("2001-09-09T01:46:40Z")
    );
    // CVE-2026-33748: the subdirectory is a link out of the repository.
    for (fragment, part) in [
        ("#:up", "up: "),
        ("#:abs", "abs: "),
        ("#:../..", "../..: "),
        ("#nope", "nope: no such"),
        ("#--upload-pack=x", "not a reference"),
    ] {
        room.sh(&format!("dfile-build -q '{url}{fragment}'")).fails(1, part);
    }
    let add = |flags: &str, fragment: &str| {
        room.write("ctx/Dockerfile", format!("FROM scratch\nADD {flags} {url}{fragment} /r\n"));
        room.sh("dfile-build -q -t it ctx")
    };
    add("--exclude=sub --chown=5", "#v1").ok();
    assert_eq!(unpacked(&room, "it"), "r/Dockerfile r/abs r/f r/up");
    assert_eq!(room.sh("stat -c '%u %Y' box/rootfs/r/f").ok(), "5 1000000000");
    add("--keep-git-dir", ":sub").fails(1, "git ");
    add("--keep-git-dir --checksum=abcdef0", "").fails(1, "--checksum=abcdef0: the commit is ");
    add(&format!("--keep-git-dir --checksum={first}"), "#v1").ok();
    assert!(unpacked(&room, "it").contains("r/.git/HEAD"));
}
