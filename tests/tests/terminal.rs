//! Interactive use in a real terminal (tmux): a shell, job control, ctrl-C, the window's size, leaving and coming
//! back.

use dock_tests::background::Yard;
use dock_tests::needs;

/// A tmux server of its own with one window, in which things are typed and read.
struct Window<'a> {
    yard: &'a Yard,
    socket: String,
}

impl<'a> Window<'a> {
    fn open(yard: &'a Yard, name: &str) -> Self {
        let socket = yard.room.path(name).display().to_string();
        let window = Self { yard, socket };
        window.tmux("-f /dev/null new-session -d -x 100 -y 30 'sh -i'");
        window
    }

    fn tmux(&self, words: &str) -> String {
        self.yard.sh(&format!("tmux -S {} {words}", self.socket)).ok()
    }

    /// Types a line, or with `keys` names of keys.
    fn line(&self, text: &str) {
        self.tmux(&format!("send-keys -l '{}'", text.replace('\'', "'\\''")));
        self.tmux("send-keys Enter");
    }

    fn keys(&self, names: &str) {
        self.tmux(&format!("send-keys {names}"));
    }

    #[track_caller]
    fn shows(&self, wanted: &str) {
        self.yard.until(&format!("tmux -S {} capture-pane -p", self.socket), wanted);
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let _ = self.yard.sh(&format!("tmux -S {} kill-server", self.socket));
    }
}

#[test]
fn a_shell_in_a_terminal() {
    needs!(root, "busybox", "tmux");
    let yard = Yard::new();
    let window = Window::open(&yard, "tmux");
    window.line("dock run -it --name box busybox sh; echo code=$?");
    window.shows("/ #");
    window.line("tty=$(stty size); echo size $tty end");
    window.shows("size 30 100 end");
    // Job control: ctrl-Z stops what runs in front and nothing else, fg brings it back, ctrl-C ends it.
    window.line("sleep 88");
    yard.until("dock top box", "sleep 88");
    window.keys("C-z");
    window.shows("Stopped");
    window.line("jobs");
    window.shows("sleep 88");
    window.line("fg");
    window.shows("fg\nsleep 88");
    window.keys("C-c");
    window.line("echo after$((40+2))");
    window.shows("after42");
    window.tmux("resize-window -x 70 -y 20");
    yard.until(
        &format!(
            "tmux -S {0} send-keys -l 'stty size'; tmux -S {0} send-keys Enter; sleep 0.1; tmux -S {0} capture-pane -p",
            window.socket
        ),
        "20 70",
    );
    window.line("exit 5");
    window.shows("code=5");
    assert_eq!(yard.member("box", "status"), "exited");
    // The terminal is as it was: what is typed is shown, once.
    window.line("echo sane$((40+2))");
    window.shows("sane42");
}

#[test]
fn leaving_and_coming_back() {
    needs!(root, "busybox", "tmux");
    let yard = Yard::new();
    let window = Window::open(&yard, "tmux");
    window.line("dock run -it --name box busybox sh; echo code=$?");
    window.shows("/ #");
    window.line("word=kept");
    window.keys("C-p C-q");
    window.shows("read escape sequence");
    window.shows("code=0");
    assert_eq!(yard.member("box", "status"), "running");
    window.line("clear; dock attach --detach-keys ctrl-a,x box; echo left=$?");
    window.keys("Enter");
    window.shows("/ #");
    window.line("echo word is $word");
    window.shows("word is kept");
    // Two see one terminal.
    let other = Window::open(&yard, "tmux2");
    other.line("dock attach box");
    yard.until(
        &format!(
            "tmux -S {0} send-keys -l 'echo for both'; tmux -S {0} send-keys Enter; sleep 0.1; tmux -S {1} capture-pane -p",
            window.socket, other.socket
        ),
        "for both",
    );
    window.keys("C-a x");
    window.shows("left=0");
    other.line("exit 3");
    assert_eq!(yard.sh("dock wait box").ok(), "3");
}

/// Without -i nothing that is typed is the container's, and a signal is: of run, not of who comes later, as in docker.
#[test]
fn a_terminal_that_is_only_looked_at_passes_signals_on() {
    needs!(root, "busybox", "tmux");
    let yard = Yard::new();
    let window = Window::open(&yard, "tmux");
    let program = "trap \"echo got; exit 3\" INT; echo ready$((40+2)); while :; do sleep 0.1; done";
    window.line(&format!("dock run -t --name box busybox sh -c '{program}'; echo code=$?"));
    window.shows("ready42");
    window.keys("C-c");
    window.shows("code=3");
    let window = Window::open(&yard, "tmux2");
    window.line("dock start -a box; echo left=$?");
    window.shows("ready42");
    window.keys("C-c");
    window.shows("left=130");
    assert_eq!(yard.member("box", "status"), "running");
    yard.sh("dock kill box").ok();
    let window = Window::open(&yard, "tmux3");
    window
        .line("dock run -t --sig-proxy=false --name other busybox sh -c 'echo ready$((40+3)); sleep 99'; echo left=$?");
    window.shows("ready43");
    window.keys("C-c");
    window.shows("left=130");
    assert_eq!(yard.member("other", "status"), "running");
}

#[test]
fn one_end_is_no_terminal() {
    needs!(root, "busybox", "tmux");
    let yard = Yard::new();
    let window = Window::open(&yard, "tmux");
    for (line, want) in [
        ("echo x | dock run --rm -t busybox sh -c 'test -t 0 && echo tty$((40+2))'", "tty42\n"),
        ("dock run --rm -it busybox sh -c 'test -t 1 && echo tty$((40+3))' | cat", "tty43\n"),
        ("dock run --rm -i busybox sh -c 'cat; echo end$((40+4))' <&-", "end44\n"),
    ] {
        // The shell's own word comes last: what is typed before it may be the container's.
        window.line(&format!("clear; {line}; echo over$((40+6))"));
        window.shows(&format!("{want}over46"));
    }
    // All of it at once, and none is lost.
    yard.sh("head -c 10000 /dev/zero | tr '\\0' y >pasted").ok();
    window.line("clear; dock run --rm -it busybox sh -c 'stty -icanon -echo; echo $((40+5)); head -c 10000 | wc -c'");
    window.shows("45");
    window.tmux(&format!("load-buffer {}", yard.room.path("pasted").display()));
    window.tmux("paste-buffer");
    window.shows("10000\n");
}

#[test]
fn an_editor_draws_its_screen() {
    needs!(root, "busybox", "tmux");
    let yard = Yard::new();
    let window = Window::open(&yard, "tmux");
    window.line("dock run -it --rm --name box busybox vi /tmp/text; echo code=$?");
    window.shows("~");
    window.keys("i");
    window.shows("I /tmp/text");
    window.tmux("send-keys -l hello");
    window.shows("hello");
    window.keys("Escape");
    window.shows("- /tmp/text");
    window.line(":wq");
    window.shows("code=0");
    assert_eq!(yard.sh("dock ps -aq").ok(), "", "with --rm and a terminal, too");
    let ran = yard.sh("dock run -it busybox sh");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "the input device is not a TTY\n"), "{ran:#?}");
}
