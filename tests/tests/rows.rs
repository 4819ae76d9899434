//! Rows of the workflow that no other file tells whole: copy on write, a tool installed in a container, and the
//! same commands for an ordinary user.

use dock_tests::image::{dock, image};
use dock_tests::{Room, needs, top};

/// The room has an image `img` now, with two files to change.
fn with_image(room: Room) -> Room {
    image(&room, "echo old >t/file; echo kept >t/other", "-t img -c 'CMD [\"/bin/sh\"]'");
    room
}

#[test]
fn b14_a_change_in_one_container_is_no_others_and_not_the_images() {
    needs!(root, "busybox");
    let room = with_image(Room::new());
    let layers = "find root/layers -type f | sort | xargs sha256sum";
    dock(&room, "dock run --name first img cat /file").ok();
    let before = room.sh(layers).ok();
    dock(&room, "dock run --name changes img sh -c 'echo new >/file; rm=busybox; busybox rm /other; busybox chmod 600 /bin/busybox'").ok();
    assert_eq!(dock(&room, "dock run --rm img cat /file /other").ok(), "old\nkept");
    assert_eq!(dock(&room, "dock start -a first").ok(), "old");
    assert_eq!(dock(&room, "dock diff changes").ok(), "C /bin\nC /bin/busybox\nC /file\nD /other");
    assert_eq!(room.sh(layers).ok(), before, "the layers that both share are what they were");
    assert_eq!(dock(&room, "dock commit changes changed >/dev/null && dock run --rm img cat /file").ok(), "old");
}

/// A package of Debian, made here, installed by Debian's own dpkg in a debootstrapped system, committed, run.
#[test]
fn b15_a_tool_that_was_installed_in_a_container_is_in_the_image() {
    needs!(root, "dpkg-deb");
    let room = Room::new();
    let tar = room.sh(&top().join("tests/debian").display().to_string());
    if tar.code != 0 {
        return dock_tests::skip("needs a debootstrapped system");
    }
    let append = "img-append --base scratch -t debian -c 'CMD [\"/bin/bash\"]' --layer";
    room.sh(&format!("{append} {} >/dev/null", tar.stdout.trim())).ok();
    room.sh(
        "mkdir -p pkg/DEBIAN pkg/usr/bin && printf 'Package: greeter\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n' >pkg/DEBIAN/control \
         && printf '#!/bin/sh\\necho hello from a package\\n' >pkg/usr/bin/greeter && chmod 755 pkg/usr/bin/greeter && dpkg-deb --build pkg greeter.deb >/dev/null",
    )
    .ok();
    dock(&room, "dock run --name installs -v \"$PWD:/pkg:ro\" debian dpkg -i /pkg/greeter.deb").ok();
    dock(&room, "dock commit -m installed installs debian:greeter && dock rm installs").ok();
    assert_eq!(dock(&room, "dock run --rm debian:greeter greeter").ok(), "hello from a package");
    assert_eq!(
        dock(&room, "dock run --rm debian:greeter dpkg-query -W -f '${Status}' greeter").ok(),
        "install ok installed"
    );
    assert_eq!(dock(&room, "dock run --rm debian greeter").code, 127, "the base has it not");
    // The same by a Dockerfile: Debian's own apt, and a source of packages in the context.
    room.sh(
        "mkdir -p ctx/repo && sed -i s/greeter/vim/ pkg/DEBIAN/control && mv pkg/usr/bin/greeter pkg/usr/bin/vim \
         && dpkg-deb --build pkg ctx/repo/vim.deb >/dev/null && cd ctx/repo && { dpkg-deb -f vim.deb; echo Filename: ./vim.deb; \
         echo Size: $(stat -c %s vim.deb); echo SHA256: $(sha256sum vim.deb | cut -d' ' -f1); } >Packages",
    )
    .ok();
    room.write(
        "ctx/Dockerfile",
        "FROM debian\nRUN --mount=source=repo,target=/repo echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list \\\n\
         && apt-get update && apt-get install -y vim && rm -rf /var/lib/apt/lists/*\nCMD [\"vim\"]\n",
    );
    dock(&room, "dock build -q -t editor ctx").ok();
    assert_eq!(dock(&room, "dock run --rm editor").ok(), "hello from a package");
}

/// The first Dockerfile of most: a web server, and its page by echo.
#[test]
fn d1_a_page_of_a_web_server_by_run() {
    needs!(root, "busybox");
    let room = with_image(Room::new());
    room.write(
        "ctx/Dockerfile",
        "FROM img\nRUN busybox mkdir -p /usr/share/nginx/html\nRUN echo 'Hello, Docker!' >/usr/share/nginx/html/index.html\n\
         EXPOSE 80\nCMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/usr/share/nginx/html\"]\n",
    );
    dock(&room, "dock build -q -t page ctx && dock run -d --name page page").ok();
    let ask = "n=0; until busybox wget -qO- http://127.0.0.1/ 2>/dev/null || [ $n = 100 ]; do n=$((n+1)); busybox sleep 0.1; done";
    let page = dock(&room, &format!("dock exec page sh -c '{ask}'"));
    dock(&room, "dock rm -f page").ok();
    assert_eq!(page.ok(), "Hello, Docker!");
}

#[test]
fn b16_the_same_commands_without_root() {
    needs!(root, "busybox", "setpriv");
    let room = with_image(Room::of_user(1234));
    let ran = dock(&room, "dock run --rm img id -u");
    if ran.stderr.contains("user namespaces may be off") {
        return dock_tests::skip("needs user namespaces");
    }
    assert_eq!(ran.ok(), "0", "root inside, who he was outside");
    dock(&room, "dock run -d --name back -v named:/v -e A=1 img sh -c 'echo $A; echo x >/v/f; sleep 60' >/dev/null")
        .ok();
    assert_eq!(dock(&room, "dock ps --format '{{.Names}}'").ok(), "back");
    assert_eq!(dock(&room, "dock exec back cat /v/f").ok(), "x");
    assert_eq!(dock(&room, "dock logs back").ok(), "1");
    let ran = dock(&room, "dock pause back");
    assert!(ran.code == 0 && dock(&room, "dock unpause back").code == 0 || ran.stderr.contains("\nhint: the freezer"));
    assert_eq!(dock(&room, "dock run --rm --pid container:back img cat /proc/1/root/v/f").ok(), "x");
    assert_eq!(dock(&room, "echo in >f; dock cp f back:/file && dock cp back:/file g && cat g").ok(), "in");
    // Paused meanwhile where he has a cgroup, else said to run on.
    let ran = dock(&room, "dock commit back live");
    assert!(ran.code == 0 && (ran.stderr.is_empty() || ran.stderr.contains("note: it goes on")), "{ran:#?}");
    assert_eq!(dock(&room, "dock run --rm live cat /file").ok(), "in");
    assert_eq!(dock(&room, "dock stop -t 1 back && dock inspect -f '{{.State.Status}}' back").ok(), "back\nexited");
    assert_eq!(dock(&room, "dock cp back:/file h && cat h && dock diff back").ok().lines().next(), Some("in"));
    assert_eq!(dock(&room, "dock commit back mine >/dev/null && dock run --rm mine cat /file").ok(), "in");
    assert_eq!(dock(&room, "dock rm back && dock volume rm named").ok(), "back\nnamed");
    assert_eq!(room.sh("ls root/containers root/volumes").ok(), "root/containers:\n\nroot/volumes:");
}
