//! What the tests of the builder share: an empty context `ctx`, an image to start from, and a build that has to succeed.

use crate::Room;

impl Room {
    /// A room with a context `ctx`, and the image `base`, also `localhost/base`: busybox, its applets in /bin, the users
    /// root, app (1000:1001) and one with the name 1002, the groups of both and www with app in it; nothing else.
    pub fn with_base() -> Self {
        let room = Self::new();
        room.sh("mkdir ctx base && cp $(command -v busybox) base/busybox").ok();
        room.write(
            "base/Dockerfile",
            "FROM scratch\nCOPY busybox /bin/\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
             COPY <<E /etc/passwd\nroot:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n1002:x:5:5::/:/bin/sh\nE\n\
             COPY <<E /etc/group\nroot:x:0:\napp:x:1001:\nwww:x:33:app\nE\nENV PATH=/bin\nCMD [\"sh\"]\n",
        );
        room.sh("dfile-build -q -t base -t localhost/base base").ok();
        room
    }

    /// Builds `ctx` as the image `it` and gives what the steps printed.
    #[track_caller]
    pub fn build(&self, dockerfile: &str, options: &str) -> String {
        self.write("ctx/Dockerfile", dockerfile);
        let ran = self.sh(&format!("dfile-build -t it {options} ctx"));
        assert_eq!(ran.code, 0, "{ran:?}");
        self.sh("img-fsck").ok();
        ran.stderr
    }
}
