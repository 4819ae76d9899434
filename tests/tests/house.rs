//! The promises of the house: every tool has help, a version and a page that agree with each other; what README
//! shows exists; who may depend on whom (DESIGN "the law between crates"); records fit their JSON Schemas.

use dock_tests::{Room, bin, needs, top};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Every Rust tool: a folder of `tools/` with a Cargo.toml.
fn tools() -> Vec<String> {
    let mut tools: Vec<String> = fs::read_dir(top().join("tools"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    tools.sort();
    assert!(tools.len() >= 16, "{tools:?}");
    tools
}

fn run(tool: &str, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(bin().join(tool)).args(args).stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Names of long options that a page or a help text lists.
fn option_names<'a>(words: impl Iterator<Item = &'a str>, dashes: &str) -> BTreeSet<String> {
    words
        .filter_map(|word| word.strip_prefix(dashes))
        .map(|word| word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>())
        .filter(|word| !word.is_empty())
        .collect()
}

fn options_of_help(tool: &str) -> BTreeSet<String> {
    let (_, help, _) = run(tool, &["--help"]);
    let lists = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lists.flat_map(|line| option_names(line.split("  ").next().unwrap().split([' ', ',']), "--")).collect()
}

fn options_of_page(tool: &str) -> BTreeSet<String> {
    let page = top().join(format!("man/{tool}.1"));
    let source = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let (_, options) = source.split_once(".Sh OPTIONS").unwrap_or_else(|| panic!("{tool}.1 has no OPTIONS"));
    let items = options.split("\n.Sh ").next().unwrap().lines().filter_map(|line| line.strip_prefix(".It "));
    items
        .flat_map(|item| {
            let words: Vec<&str> = item.split_whitespace().collect();
            option_names(words.windows(2).filter(|pair| pair[0] == "Fl").map(|pair| pair[1]), "-")
        })
        .collect()
}

#[test]
fn help_and_version_are_on_stdout_and_a_bad_option_is_two_lines_on_stderr() {
    for tool in tools() {
        let (code, stdout, stderr) = run(&tool, &["--help"]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{tool} --help");
        assert!(stdout.contains("Usage: "), "{tool} --help: {stdout}");
        let (code, stdout, stderr) = run(&tool, &["--version"]);
        // dockerd and podman read runc's form.
        let version = if tool == "ctr-oci" { "version " } else { "" };
        let first = stdout.lines().next().unwrap_or_default();
        assert_eq!(
            (code, first, stderr),
            (0, &*format!("{tool} {version}{}", env!("CARGO_PKG_VERSION")), String::new())
        );
        let (code, stdout, stderr) = run(&tool, &["--no-such-option"]);
        let usage = if matches!(tool.as_str(), "ctr-spawn" | "ctr-exec") { 125 } else { 2 };
        assert_eq!((code, stdout.as_str()), (usage, ""), "{tool} --no-such-option: {stderr}");
        assert_eq!(stderr.lines().count(), 2, "{tool}: {stderr}");
        assert!(stderr.starts_with(&format!("{tool}: ")), "{tool}: {stderr}");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_noticed() {
    for tool in tools() {
        let ran = Room::new().sh(&format!("{tool} --help >/dev/full"));
        assert_ne!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.lines().count() <= 1, "{ran:?}");
    }
}

#[test]
fn every_page_lists_the_options_of_help_and_no_others() {
    for tool in tools() {
        let (page, help) = (options_of_page(&tool), options_of_help(&tool));
        assert_eq!(page, help, "{tool}: OPTIONS of the page (left) and of --help (right)");
    }
}

#[test]
fn one_sentence_says_what_a_tool_is() {
    for tool in tools() {
        let manifest = fs::read_to_string(top().join(format!("tools/{tool}/Cargo.toml"))).unwrap();
        let about = manifest.lines().find_map(|line| line.strip_prefix("description = ")).unwrap().trim_matches('"');
        let page = fs::read_to_string(top().join(format!("man/{tool}.1"))).unwrap();
        let described = page.lines().find_map(|line| line.strip_prefix(".Nd ")).unwrap();
        let (_, help, _) = run(&tool, &["--help"]);
        assert!(described.eq_ignore_ascii_case(about), "{tool}.1: .Nd {described:?}, Cargo.toml {about:?}");
        assert!(help.starts_with(about), "{tool} --help starts with {about:?}: {help}");
    }
}

#[test]
fn pages_pass_the_linter() {
    needs!("mandoc");
    for page in fs::read_dir(top().join("man")).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_file()) {
        let output = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        assert!(output.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn readme_names_every_tool_and_every_tool_is_built() {
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let overview = fs::read_to_string(top().join("man/dock-tools.7")).unwrap();
    for tool in tools() {
        assert!(readme.contains(&tool), "README does not name {tool}");
        assert!(overview.contains(&format!(".It Xr {tool} 1\n")), "dock-tools(7) does not name {tool}");
        assert!(bin().join(&tool).exists(), "bin/{tool}");
    }
    let makefile = fs::read_to_string(top().join("Makefile")).unwrap();
    for verb in ["demo", "test", "build", "install", "bench"] {
        assert!(readme.contains(&format!("make {verb}")), "README does not name make {verb}");
        assert!(makefile.contains(&format!("\n{verb}:")), "Makefile has no {verb}");
    }
}

/// What `make demo` shows, with the user's terminal out of the way.
#[test]
fn the_demo_runs() {
    needs!(root);
    let room = Room::new();
    let demo = top().join("examples/demo.sh");
    let shown = room.sh(&format!("{} 2>&1", demo.display())).ok();
    assert_eq!(shown.matches("Hello from a container").count(), 2, "{shown}");
    assert_eq!(shown.matches("process ID   1\n").count(), 2, "{shown}");
    assert!(shown.contains("host name    container\n") && shown.contains("processes    1 hello"), "{shown}");
    assert!(shown.contains("COPY hello /") && shown.contains("\nctr-spawn "), "{shown}");
}

#[test]
fn an_installed_dock_finds_its_tools_and_pages() {
    needs!("make");
    let room = Room::new();
    // What `make install` installs, without building again.
    let install = "make -s -C \"$0\" -o build install PREFIX=/opt/dock DESTDIR=\"$PWD/stage\"";
    room.sh(&format!("sh -c '{install}' {}", top().display())).ok();
    let version = room.sh("stage/opt/dock/bin/dock version && stage/opt/dock/bin/img-ls --version").ok();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert_eq!(room.sh("PATH=/usr/bin:/bin stage/opt/dock/bin/dock images").ok().lines().count(), 1);
    for page in ["man1/dock.1", "man1/ctr-spawn.1", "man5/dock-wire.5", "man7/dock-tools.7"] {
        assert!(room.path(&format!("stage/opt/dock/share/man/{page}")).exists(), "{page}");
    }
    assert!(room.path("stage/opt/dock/share/bash-completion/completions/dock").exists());
}

/// Every option in the pipelines that README shows exists in the tool that it is given to.
#[test]
fn readmes_pipelines_use_options_that_exist() {
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let mut checked = 0;
    for line in readme.lines().filter_map(|line| line.strip_prefix("    ")) {
        for stage in line.split(" # ").next().unwrap().split('|') {
            let words: Vec<&str> = stage.split_whitespace().collect();
            let Some(tool) = tools().into_iter().find(|tool| words.first() == Some(&tool.as_str())) else { continue };
            let (_, help, _) = run(&tool, &["--help"]);
            for word in words.iter().skip(1).take_while(|word| **word != "--").filter(|word| word.starts_with('-')) {
                assert!(*word == "-" || help.contains(word), "README: {stage}: {tool} has no {word}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked} stages found in README");
}

/// The packages that `package` is built from, itself included.
fn built_from(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", package])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The edges that make the architecture: crates do not know each other, and TLS is where registries are.
#[test]
fn who_depends_on_whom() {
    let crates = [
        "oci-layout",
        "layer-tar",
        "registry",
        "bundle",
        "linux-sandbox",
        "moment",
        "progress",
        "subids",
        "table",
        "template",
        "toolkit",
    ];
    for krate in crates {
        let from = built_from(krate);
        let siblings: Vec<_> = crates.iter().filter(|other| **other != krate && from.contains(**other)).collect();
        assert!(siblings.is_empty(), "{krate} depends on {siblings:?}");
    }
    let wire = built_from("wire");
    assert!(crates.iter().all(|krate| !wire.contains(*krate)), "wire depends on a sibling");
    let tools = tools();
    for tool in &tools {
        let from = built_from(tool);
        let speaks_http = matches!(tool.as_str(), "img-login" | "img-pull" | "img-push" | "img-search" | "url-get");
        assert_eq!(from.contains("rustls"), speaks_http, "{tool} and TLS");
        assert!(!from.contains("tokio"), "{tool} and tokio");
        assert_eq!(tools.iter().filter(|other| from.contains(*other)).count(), 1, "{tool} depends on another tool");
        assert!(tool.starts_with("ctr-") || !from.contains("linux-sandbox"), "{tool} and linux-sandbox");
    }
}

#[test]
fn unsafe_code_has_one_home() {
    for folder in ["crates", "tools"] {
        for entry in fs::read_dir(top().join(folder)).unwrap().map(|entry| entry.unwrap().path()) {
            let roots = ["src/lib.rs", "src/main.rs"].map(|file| entry.join(file));
            let Some(root) = roots.iter().find(|file| file.exists()) else { continue };
            let source = fs::read_to_string(root).unwrap();
            let fenced = source.contains("#![forbid(unsafe_code)]");
            assert_eq!(fenced, !entry.ends_with("linux-sandbox"), "{}", root.display());
        }
    }
}

/// DESIGN allows toolkit 300 lines; blank lines, comments and unit tests are not counted.
#[test]
fn toolkit_stays_small() {
    let lines: usize = fs::read_dir(top().join("crates/toolkit/src"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .map(|source| {
            let code = source.split("#[cfg(test)]").next().unwrap().lines().map(str::trim);
            code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
        })
        .sum();
    assert!((100..=300).contains(&lines), "toolkit has {lines} lines: what has crept in?");
}

/// Real output of the tools, checked by an independent reader of JSON Schema.
#[test]
fn records_fit_their_schemas() {
    needs!(root, "busybox");
    let room = Room::new();
    if room.sh("python3 -c 'import jsonschema'").code != 0 {
        return dock_tests::skip("needs python3-jsonschema");
    }
    room.sh("mkdir -p tree/bin && cp $(command -v busybox) tree/bin/busybox && tar -C tree -cf tree.tar .").ok();
    let mut lines = Vec::new();
    let mut record = |kind: &'static str, script: &str| lines.push((kind, room.sh(script).ok()));
    record("image", "img-append --base scratch --layer tree.tar --change 'CMD [\"/bin/busybox\",\"true\"]' --tag t");
    record("image", "img-ls");
    record("image", "img-tag t u");
    record("bundle", "img-unpack --flat t flat");
    record("bundle", "img-unpack --overlay t over");
    record("bundle", "img-unpack --overlay t over2 | ctr-spec -e A=b");
    record("layer", "touch over/upper/new; layer-diff --layout \"$DOCK_ROOT/images\" over");
    room.sh("dock run --name done t").ok();
    record("container", "ctr-ls -a");
    for (kind, line) in lines {
        assert_eq!(line.lines().count(), 1, "{kind}: {line}");
        let schema = top().join(format!("man/schema/{kind}.schema.json"));
        let checker = format!(
            "import json, jsonschema\n\
             schema = json.load(open('{}'))\n\
             jsonschema.Draft202012Validator.check_schema(schema)\n\
             jsonschema.validate(json.load(open('record')), schema)\n",
            schema.display()
        );
        room.write("check.py", checker);
        room.write("record", &line);
        let ran = room.sh("python3 check.py");
        assert_eq!(ran.code, 0, "{kind}: {line}\n{}", ran.stderr);
    }
}

/// Who reads dock(1) finds every command in it.
#[test]
fn every_command_of_dock_stands_in_its_page() {
    let page = fs::read_to_string(top().join("man/dock.1")).unwrap();
    let listed = page.split_once(".Sh COMMANDS\n").unwrap().1.split_once(".Sh ").unwrap().0;
    let named: BTreeSet<&str> =
        listed.lines().filter_map(|line| line.strip_prefix(".It ")).flat_map(str::split_whitespace).collect();
    let commands = fs::read_dir(top().join("tools/dock/dock.d")).unwrap();
    let commands = commands.map(|file| file.unwrap().file_name().into_string().unwrap());
    let missing: Vec<String> = commands.filter(|name| !name.contains('.') && !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "COMMANDS of dock(1) has no {missing:?}");
}

/// What a command's help lists, its line of options takes.
#[test]
fn every_option_of_docks_help_is_taken() {
    let mut seen = 0;
    for file in fs::read_dir(top().join("tools/dock/dock.d")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let Some(spec) = text.lines().find_map(|line| line.trim_start().strip_prefix("options '")) else { continue };
        let spec: Vec<&str> = spec.split('\'').next().unwrap().split([' ', '|', '=']).collect();
        let listed = text.lines().skip_while(|line| *line != "# Options:").take_while(|line| line.starts_with('#'));
        for line in listed.filter_map(|line| line.strip_prefix('#')) {
            let Some(option) = line.split_whitespace().take(2).find_map(|word| word.strip_prefix("--")) else {
                continue;
            };
            assert!(spec.contains(&option), "{}: --{option}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
