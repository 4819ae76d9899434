//! Commands that cannot be executed, and what every tool says that was to execute one: which part is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILES: [(&str, u32, &[u8]); 5] = [
    ("plain", 0o644, b"x"),
    ("noint", 0o755, b"#!/no/such\n"),
    ("crlf", 0o755, b"#!/bin/sh\r\ntrue\n"),
    ("text", 0o755, b"just text"),
    ("other", 0o755, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0"),
];

/// Each with the exit code and the words.
pub const COMMANDS: [(&str, i32, &str); 8] = [
    ("nosuch", 127, "exec: nosuch: not found in the container's PATH"),
    ("/no/such", 127, "exec: /no/such: no such file"),
    ("/tmp", 126, "is a directory"),
    ("/tmp/plain", 126, "no execute permission"),
    ("/tmp/noint", 127, "its #! line names /no/such, which is not in the container"),
    ("/tmp/crlf", 127, "DOS line ends"),
    ("/tmp/text", 126, "no #! line"),
    ("/tmp/other", 126, "arm64"),
];

/// Writes the files that they name into the container's `/tmp`.
pub fn write(tmp: &Path) {
    for (name, mode, content) in FILES {
        let path = tmp.join(name);
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
}
