//! `.dockerignore` against its documentation, on random rules and paths: a slow matcher that tries everything stands
//! beside the one that passes once.

use dockerfile::{Ignore, Pattern};

/// Go's filepath.Match of one component, by trying every length of a star.
fn component(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skipped| component(rest, &text[skipped..])),
        ['?', rest @ ..] => !text.is_empty() && component(rest, &text[1..]),
        ['[', rest @ ..] => {
            let (negated, rest) = if rest[0] == '^' { (true, &rest[1..]) } else { (false, rest) };
            let Some(end) = rest.iter().position(|c| *c == ']') else { return false };
            let within = |c: char| match rest[..end] {
                [low, '-', high] => (low..=high).contains(&c),
                ref plain => plain.contains(&c),
            };
            text.first().is_some_and(|c| within(*c) != negated) && component(&rest[end + 1..], &text[1..])
        }
        ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && component(rest, &text[1..]),
    }
}

/// Component by component; `**` is any number of them.
fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => path.is_empty(),
        // At the end it is what is in the directory, and not the directory.
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        [first, rest @ ..] => {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            path.first().is_some_and(|part| component(&chars(first), &chars(part))) && matches(rest, &path[1..])
        }
    }
}

/// Reference, ".dockerignore file": the last rule that matches the path or a directory above it decides.
fn excluded(rules: &[(bool, String)], path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let hit = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        (1..=parts.len()).any(|end| matches(&pattern, &parts[..end]))
    };
    rules.iter().rev().find(|(_, pattern)| hit(pattern)).is_some_and(|(exception, _)| !exception)
}

const WORDS: [&str; 15] =
    ["a", "b", "*", "?", "a*", "*b", "a?", "**", "**", "[ab]", "[^a]", "a[a-b]*", "\\*", "A", "*[^b]?"];
const NAMES: [&str; 8] = ["a", "b", "ab", "ba", "abb", "A", "*", "a*"];

fn of<'a>(list: &[&'a str], random: &mut impl FnMut(u64) -> u64) -> &'a str {
    let index = usize::try_from(random(list.len() as u64)).unwrap_or_default();
    list[index]
}

#[test]
fn one_pass_finds_what_trying_everything_finds() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut out = 0;
    for _ in 0..20_000 {
        let mut rules = Vec::new();
        for _ in 0..=random(3) {
            let words: Vec<&str> = (0..=random(3)).map(|_| of(&WORDS, &mut random)).collect();
            rules.push((random(3) == 0, words.join("/")));
        }
        let path: Vec<&str> = (0..=random(3)).map(|_| of(&NAMES, &mut random)).collect();
        let path = path.join("/");
        // As somebody may write them: slashes at both ends mean nothing.
        let lines: Vec<String> = rules
            .iter()
            .map(|(not, text)| {
                let (not, front) = (if *not { "!" } else { "" }, of(&["", "/", "./", "x/../"], &mut random));
                format!("{not}{front}{text}{}", of(&["", "/", "/."], &mut random))
            })
            .collect();
        let found = Ignore::parse(&lines.join("\n")).unwrap().excludes(&path);
        assert_eq!(found, excluded(&rules, &path), "{lines:?} on {path}");
        out += usize::from(found);
        let (_, only) = &rules[0];
        if !only.contains("**") {
            let parts: Vec<&str> = path.split('/').collect();
            let want = matches(&only.split('/').collect::<Vec<_>>(), &parts);
            assert_eq!(Pattern::new(only, false).unwrap().matches(&path), want, "{only} on {path}");
        }
    }
    assert!((4_000..16_000).contains(&out), "{out} of 20000 excluded: the rules say nothing");
}
