//! A room with an image and containers in the background, which all end with the room.

use crate::image::image;
use crate::{Ran, Room};
use std::process::Command;
use std::time::{Duration, Instant};

/// A room with the image `busybox`: busybox, its applets, CMD sh.
#[derive(Debug)]
pub struct Yard {
    /// The room.
    pub room: Room,
}

impl Yard {
    /// A fresh one.
    #[allow(clippy::new_without_default, reason = "a room is made on disk")]
    pub fn new() -> Self {
        Self::of(Room::new())
    }

    /// One in a room that is there.
    pub fn of(room: Room) -> Self {
        image(&room, "", "-c 'CMD [\"sh\"]' -t busybox");
        Self { room }
    }

    /// Runs a script in the room.
    pub fn sh(&self, script: &str) -> Ran {
        self.room.sh(script)
    }

    /// One member of a container's record, as text.
    pub fn member(&self, container: &str, member: &str) -> String {
        let line = self.sh(&format!("ctr-ls {container}")).ok();
        let record: serde_json::Value = serde_json::from_str(&line).expect("record");
        record[member].as_str().map_or_else(|| record[member].to_string(), str::to_owned)
    }

    /// `keeper.json` of a container.
    pub fn keeper(&self, container: &str) -> serde_json::Value {
        let path = self.room.path("run/containers").join(self.member(container, "id")).join("keeper.json");
        serde_json::from_slice(&std::fs::read(path).expect("keeper.json")).expect("JSON")
    }

    /// Asks until a script prints what is wanted.
    #[track_caller]
    pub fn until(&self, script: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            let ran = self.sh(script);
            if ran.stdout.contains(wanted) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no {wanted:?} from {ran:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until no process of the room lives any more.
    #[track_caller]
    pub fn until_alone(&self) {
        let started = Instant::now();
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{processes:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes of the room that live, whoever their parent is now.
    pub fn processes(&self) -> Vec<String> {
        let here = self.room.path("").to_string_lossy().trim_end_matches('/').to_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&here);
            if holds(&environment) || holds(&command) {
                found.push(String::from_utf8_lossy(&command).replace('\0', " "));
            }
        }
        found
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        // Also when a test has failed: whoever keeps a container goes first.
        let _ = self.sh("ctr-ls --all --quiet --no-trunc | xargs -r ctr-rm --force");
        for keeper in self
            .sh("cat run/containers/*/keeper.json 2>/dev/null | sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p'")
            .stdout
            .lines()
        {
            let _ = Command::new("kill").args(["-9", keeper]).status();
        }
    }
}
