//! The container that is entered.

use dock_tests::ends::Kill;
use dock_tests::{Ran, Room};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An ordinary user that no machine has.
pub const NOBODY: u32 = 12_345;

/// A container named `web` that runs `sleep`, in a room of its own. Ends with the value.
pub struct Web {
    pub room: Room,
    pub id: String,
    pub child: Kill,
}

impl Web {
    pub fn start(options: &str) -> Self {
        Self::start_with(options, |_| {})
    }

    pub fn start_with(options: &str, change: impl FnOnce(&mut Value)) -> Self {
        Self::in_room(Room::new(), options, change)
    }

    pub fn in_room(room: Room, options: &str, change: impl FnOnce(&mut Value)) -> Self {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n70:x:0:0::/:/bin/sh\n";
        let applets = "sh sleep true cat id env pwd ps hostname ls head tail readlink touch stty tty mkfifo grep sed";
        let script = format!(
            "mkdir -p tree/bin tree/etc tree/tmp tree/dir && cp $(command -v busybox) tree/bin/busybox \
             && for name in {applets}; do ln -s busybox tree/bin/$name; done \
             && printf '{passwd}' >tree/etc/passwd && printf 'ann:x:1000:\\nwheel:x:10:ann\\n' >tree/etc/group \
             && tar -C tree -cf tree.tar . \
             && img-append --base scratch --layer tree.tar --change 'ENV PATH=/bin A=1' --tag t >image \
             && dock create --name web {options} t sleep 1000"
        );
        let id = room.sh(&script).ok().lines().last().unwrap().to_owned();
        let bundle = room.path("root/containers").join(&id);
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut config);
        fs::write(&file, config.to_string()).unwrap();
        let mut spawn = Command::new(dock_tests::bin().join("ctr-spawn"));
        spawn.arg(&bundle).env("DOCK_ROOT", room.path("root")).env("DOCK_RUN", room.path("run"));
        spawn.stdin(Stdio::null()).stdout(Stdio::null());
        if room.uid().is_some() {
            std::os::unix::process::CommandExt::uid(&mut spawn, NOBODY);
            std::os::unix::process::CommandExt::gid(&mut spawn, NOBODY);
        }
        let child = Kill(spawn.spawn().unwrap());
        let web = Self { room, id, child };
        web.eventually(|| web.sh("ctr-ls -q").stdout.len() > 1);
        web
    }

    pub fn sh(&self, script: &str) -> Ran {
        self.room.sh(script)
    }

    /// The first process, as the host sees it.
    pub fn pid(&self) -> i32 {
        let state = self.room.path("run/containers").join(&self.id).join("state.json");
        let state: Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
        i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
    }

    #[track_caller]
    pub fn eventually(&self, mut done: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < until, "waited in vain");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
