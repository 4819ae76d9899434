//! A real registry for a test: Debian's docker-registry on a free port of 127.0.0.1, ended with the value.

use crate::Room;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running registry. Dropping it ends the process and removes its files.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Registry {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::with("", "")
    }

    /// One that wants the user `me` with the password `secret`.
    pub fn with_password(room: &crate::Room) -> Self {
        // bcrypt, which is all that docker-registry reads.
        let file = room.write("htpasswd", "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n");
        Self::with("", &format!("auth: {{htpasswd: {{realm: r, path: {}}}}}", file.display()))
    }

    /// Starts one with more members of `http:` and more lines in its configuration.
    pub fn with(http: &str, lines: &str) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:0'{http}}}\n{lines}\n",
            dir.path().join("data").display()
        );
        fs::write(&config, text).expect("registry configuration");
        let log = dir.path().join("log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("registry log"))
            .spawn()
            .expect("docker-registry");
        let mut registry = Self { child, port: 0, dir };
        // The kernel chooses the port and the registry says which: a port that we had looked for could be somebody
        // else's before the registry has it.
        let until = Instant::now() + Duration::from_secs(60);
        while registry.port == 0 {
            let said = fs::read_to_string(&log).expect("registry log");
            assert!(Instant::now() < until, "docker-registry does not listen: {said}");
            registry.port = port(&said).unwrap_or_else(|| {
                std::thread::sleep(Duration::from_millis(10));
                0
            });
        }
        registry
    }

    /// `127.0.0.1:PORT`, the host part of a reference.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Changes a byte of every layer that it stores: of what is gzip, and no JSON.
    pub fn damage_layers(&self) {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        let below =
            |dir: &std::path::Path| std::fs::read_dir(dir).expect("blobs").map(|entry| entry.expect("blob").path());
        for blob in below(&blobs).flat_map(|two| below(&two).collect::<Vec<_>>()) {
            let path = blob.join("data");
            let mut bytes = std::fs::read(&path).expect("a blob");
            if bytes.starts_with(&[0x1f, 0x8b]) {
                bytes[20] ^= 1;
                std::fs::write(&path, bytes).expect("a blob");
            }
        }
    }
}

/// The port in `msg="listening on 127.0.0.1:PORT"`, once that line is whole; with TLS a comma follows the number.
fn port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    rest.split_once(['"', ','])?.0.parse().ok()
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Room {
    /// A registry that speaks TLS with a certificate of an authority of one's own, `ca.pem` in the room.
    pub fn registry_of_own_authority(&self) -> Registry {
        self.sh(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
                 -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout r.key -out r.csr
             printf 'subjectAltName=IP:127.0.0.1' >san && openssl x509 -req -in r.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out r.pem",
        )
        .ok();
        let (certificate, key) = (self.path("r.pem"), self.path("r.key"));
        Registry::with(&format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display()), "")
    }
}
