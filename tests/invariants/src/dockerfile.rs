use dockerfile::{Graph, Ignore, Instruction, parse, words};
use std::collections::BTreeMap;

/// A Dockerfile. Statements stand in the order of their lines and are one line each for messages; what is understood
/// once is understood again with its variables put in; and an error names the file.
pub fn dockerfile(input: &[u8]) {
    let file = match parse(input, "Dockerfile") {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error:#}");
            return;
        }
    };
    let lines = input.split(|byte| *byte == b'\n').count();
    let mut last = 0;
    for statement in &file.statements {
        assert!(statement.line > last && statement.line <= lines, "line {} behind {last}", statement.line);
        last = statement.line;
        assert!(!statement.original.contains('\n'), "{:?}", statement.original);
        if let Ok(instruction) = Instruction::of(statement, file.escape) {
            let _ = instruction.expanded(file.escape, &|name| Some(format!("<{name}>")));
        }
    }
    let empty = BTreeMap::new();
    if let Ok(graph) = Graph::of(&file, &empty, &empty, vec!["ctx".into()]) {
        for target in 0..graph.stages.len() {
            if let Ok(needed) = graph.needed(target) {
                assert!(needed.contains(&target) && needed.iter().all(|stage| *stage <= target), "{needed:?}");
            }
        }
    }
}

/// A word and a `.dockerignore`. A word without quotes, escapes and variables is itself; a path is left out exactly
/// when the patterns say so, whatever else stands in the file: a second reading says the same, and a last `!**` brings
/// everything back.
pub fn ignore(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if !text.contains(['\'', '"', '\\', '$']) {
        assert_eq!(words::expand(text, '\\', &|_| None).ok().as_deref(), Some(text));
    }
    let Ok(ignore) = Ignore::parse(text) else { return };
    let all_back = Ignore::parse(&format!("{text}\n!**")).expect("one more line");
    for path in ["a", "a/b", "a/b/c.txt", "*", ".x", "a b"] {
        let again = Ignore::parse(text).expect("a second time");
        assert_eq!(ignore.excludes(path), again.excludes(path));
        assert!(!all_back.excludes(path), "{path}: !** brings it back");
    }
}
