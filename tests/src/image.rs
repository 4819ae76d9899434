//! An image to start containers of, and `dock` to start them with.

use crate::{Ran, Room, top};

const APPLETS: &str = "sh cat dd echo env false grep head hostname id kill ln ls md5sum mkdir mount mv ps pwd readlink rm \
    seq sleep stat stty touch true vi wc yes";

/// Makes an image of busybox, its applets and two accounts. `changes` is a script that changes its tree, `t`, before;
/// `options` of img-append name it, and say what else there is to it.
pub fn image(room: &Room, changes: &str, options: &str) {
    tree(room, changes);
    room.sh(&format!("tar -C t -cf t.tar . && img-append --base scratch --layer t.tar {options} >/dev/null")).ok();
}

fn tree(room: &Room, changes: &str) {
    room.sh(&format!(
        "set -e; mkdir -p t/bin t/etc t/tmp; cp \"$(command -v busybox)\" t/bin/busybox
        for applet in {APPLETS}; do ln -s busybox t/bin/$applet; done
        printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:33:34::/srv:/bin/sh\n' >t/etc/passwd
        printf 'root:x:0:\nwww:x:34:\n' >t/etc/group
        {changes}"
    ))
    .ok();
}

/// Runs a script in which `dock` is tools/dock/dock.
pub fn dock(room: &Room, script: &str) -> Ran {
    dock_under("sh", room, script)
}

/// The same where one shell runs both.
pub fn dock_under(shell: &str, room: &Room, script: &str) -> Ran {
    // Its tools lie elsewhere while a debug build is tested: on the PATH, behind its own directory.
    let dock = top().join("tools/dock/dock");
    room.command(shell, &format!("dock() {{ {shell} {} \"$@\"; }}\n{script}", dock.display()))
}
