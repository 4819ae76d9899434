//! A real registry for a test: Debian's docker-registry on a free port of 127.0.0.1, ended with the value.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
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
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("free port").port();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:{port}'{http}}}\n{lines}\n",
            dir.path().join("data").display()
        );
        std::fs::write(&config, text).expect("registry configuration");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry");
        let registry = Self { child, port, dir };
        for _ in 0..200 {
            if registry.answers() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry did not answer on port {port}");
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 5];
        stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"HTTP/"
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

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
