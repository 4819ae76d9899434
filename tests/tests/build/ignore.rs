//! Patterns beside docker: what odd lines of a `.dockerignore` leave of a context, and what the wildcards of COPY take of
//! it, by dfile-build and by the BuildKit of docker 20.10.

use dock_tests::{Room, dockerd::Dockerd, needs};
use std::fmt::Write as _;

const CONTEXT: &str = r"
mkdir -p ctx/d/sub/deep ctx/e/d ctx/empty ctx/.hid ctx/x && cd ctx
for f in d/a d/sub/b d/sub/deep/c e/d/a x/b a x1.txt x2.txt y1.txt star 'sp ace' 'br[1].txt' 'st*r' '#hash' '!bang' .hidden .hid/x ünï '-dash' 'q?' 'back\slash'; do echo >$f; done
ln -s d dirlink; ln -s x1.txt filelink; ln -s nowhere dangling";

/// Texts of `.dockerignore`.
const IGNORED: &[&str] = &[
    "",
    "**",
    "*",
    "***",
    "*/",
    "*/*",
    "**/",
    "**/*",
    ".*",
    "?",
    "*\n!d",
    "*\n!d/sub",
    "*\n!d/sub/",
    "*\n!*.txt",
    "**\n!**/a",
    "**\n!d/sub/deep",
    "*/*\n!d/sub",
    "**/a",
    "**/sub",
    "**/sub/**",
    "**d",
    "d**",
    "d/**",
    "d/**/",
    "d/**/b",
    "d/**/c",
    "/**/b",
    "**/d/a",
    "d/*",
    "d/",
    "d//sub",
    "/d",
    "./d",
    "d/.",
    ".",
    "./",
    "/",
    "..",
    "../d",
    "d/..",
    "e/../x1.txt",
    "**/sub/../a",
    "!x1.txt",
    "*.txt\n!x1.txt",
    "!x1.txt\n*.txt",
    "x1.txt\n! x1.txt",
    "d\n!d/sub",
    "d\n!d/sub/b",
    "d\n!d/sub\nd/sub/b",
    "d\n!**/b",
    "d/sub\n!d",
    "# c\nx1.txt",
    " # c\n\t x1.txt \t",
    "x1.txt # c",
    "#hash",
    "\\#hash",
    "\\!bang",
    "!bang",
    "*\n!\\!bang",
    "sp ace",
    "sp\\ ace",
    "\"sp ace\"",
    "[xy]1.txt",
    "[x-z]1.txt",
    "[^x]1.txt",
    "[!x]1.txt",
    "[x^]1.txt",
    "[\\x]1.txt",
    "[a-c-x]1.txt",
    "x?.txt",
    "x*1*.txt",
    "st\\*r",
    "st*r",
    "q\\?",
    "br[[]1].txt",
    "br\\[1\\].txt",
    "back\\\\slash",
    "back\\slash",
    "\\x1.txt",
    "x1\\.txt",
    "\u{feff}x1.txt",
    "x1.txt\r\nd\r\n",
    "x1.txt/",
    "x1.txt/**",
    "x1.txt/x",
    "dirlink",
    "dirlink/a",
    "filelink",
    "ünï",
    "?nï",
    "[ü]nï",
    "[a-z]nï",
    "X1.TXT",
    "-dash",
    "{x1,x2}.txt",
    "+(x1).txt",
    "x1.txt\n\n\n  \nx2.txt",
    "d(a|b)",
    "x1$",
    "^x1.txt",
    "x1.t.t",
    // What nobody can mean.
    "[",
    "[]",
    "[]x]",
    "[a-",
    "[x-]1.txt",
    "[^]",
    "x\\",
    "!",
    "! ",
];

/// Sources of COPY.
const COPIED: &[&str] = &[
    "*",
    "?",
    ".*",
    "*.txt",
    "x?.txt",
    "[xy]1.txt",
    "[^x]1.txt",
    "[x-z]*",
    "d/*",
    "d*",
    "*/a",
    "*/*/b",
    "**",
    "**/a",
    "d/**",
    "d/sub/*",
    "./x*",
    "/x*",
    "d/../x*",
    "d//*",
    "st\\\\*r",
    "st*r",
    "q\\\\?",
    "br[[]1].txt",
    "br\\\\[1\\\\].txt",
    "back\\\\\\\\slash",
    "sp*",
    "sp ace",
    "#hash",
    "!bang",
    "-*",
    "[a-z]nï",
    "?nï",
    "dir*",
    "file*",
    "dangling*",
    "nope*",
    "x[12].txt",
    "{x1,x2}.txt",
    "empty*",
    "*/",
    ".",
];

/// What differs, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (r#""**\n!**/a""#, NOT_SEEN),
    (r#""d\n!**/b""#, NOT_SEEN),
    (r#""[\\x]1.txt""#, REGEX),
    (r#""\\x1.txt""#, REGEX),
    (r#""+(x1).txt""#, REGEX),
    (r#""^x1.txt""#, REGEX),
    ("COPY */a", NO_DIRECTORY),
    ("COPY */*/b", NO_DIRECTORY),
    ("COPY **/a", NO_DIRECTORY),
    (r"COPY back\\\\slash", "it looks for the name with both backslashes"),
];
/// Fixed in BuildKit since.
const NOT_SEEN: &str = "it does not look into a directory that is left out for what a pattern brings back";
const REGEX: &str =
    "a pattern becomes a regular expression, where ^, +, ( and \\x mean something else than in Go's Match";
/// The classic builder copies as we do.
const NO_DIRECTORY: &str = "it fails at a file where the pattern has a directory";

/// Everything below a directory: kind, path, where a link leads.
fn listed(room: &Room, dir: &str) -> String {
    room.sh(&format!("[ ! -d {dir} ] || {{ cd {dir} && find . -mindepth 1 -printf '%y %P %l\n' | LC_ALL=C sort; }}"))
        .ok()
}

#[test]
fn patterns_mean_what_docker_means() {
    needs!(root, "dockerd", "/usr/bin/docker");
    let room = Room::new();
    let Some(dockerd) = Dockerd::start_with(&room, "--data-root /run/data") else { return };
    room.sh(CONTEXT).ok();
    let mut names = Vec::new();
    for (number, text) in IGNORED.iter().enumerate() {
        room.write(&format!("files/{number}"), "FROM scratch\nCOPY . /\n");
        room.write(&format!("files/{number}.dockerignore"), text);
        names.push((number.to_string(), format!("{text:?}")));
    }
    for (number, source) in COPIED.iter().enumerate() {
        room.write(&format!("files/copy-{number}"), format!("FROM scratch\nCOPY [\"{source}\", \"/to/\"]\n"));
        names.push((format!("copy-{number}"), format!("COPY {source}")));
    }
    let docker = format!("DOCKER_CONFIG=$PWD/none DOCKER_HOST={} DOCKER_BUILDKIT=1 /usr/bin/docker", dockerd.host());
    let all = |command: &str, owner: &str| -> Vec<i32> {
        names
            .iter()
            .map(|(name, _)| room.sh(&format!("{command} -q -o {owner}/{name} -f files/{name} ctx")).code)
            .collect()
    };
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| all(&format!("{docker} build"), "theirs"));
        (all("dfile-build", "ours"), theirs.join().unwrap())
    });
    let mut report = String::new();
    for ((name, shown), codes) in names.iter().zip(ours.into_iter().zip(theirs)) {
        let trees = ["ours", "theirs"].map(|owner| listed(&room, &format!("{owner}/{name}")));
        let differs = codes.0 != codes.1 || trees[0] != trees[1];
        if differs != DIFFERENT.iter().any(|(row, _)| row == shown) {
            let only = |a: &str, b: &str| {
                a.lines().filter(|line| !b.lines().any(|other| other == *line)).collect::<Vec<_>>().join(", ")
            };
            let _ = writeln!(
                report,
                "{shown}: {codes:?}\n  only ours   {}\n  only theirs {}",
                only(&trees[0], &trees[1]),
                only(&trees[1], &trees[0])
            );
        }
    }
    assert!(report.is_empty(), "{report}");
}
