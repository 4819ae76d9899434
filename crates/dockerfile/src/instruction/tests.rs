//! Instructions as written, and what they mean.

use super::*;
use crate::parse::parse;

fn instruction(text: &str) -> anyhow::Result<Instruction> {
    let file = parse(text.as_bytes(), "Dockerfile").unwrap();
    Instruction::of(&file.statements[0], file.escape)
}

fn pairs_of(text: &str) -> Vec<(String, String)> {
    let lookup = |name: &str| (name == "x").then(|| "X".to_owned());
    match instruction(text).unwrap().expanded('\\', &lookup).unwrap() {
        Instruction::Env(list) | Instruction::Label(list) => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_and_values() {
    let one = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    assert_eq!(pairs_of("ENV a=b"), one("a", "b"));
    assert_eq!(pairs_of("ENV a b  c"), one("a", "b  c"));
    assert_eq!(pairs_of("ENV a=\"b c\""), one("a", "b c"));
    assert_eq!(pairs_of("ENV a=b\\ c"), one("a", "b c"));
    assert_eq!(pairs_of("ENV a='$x'"), one("a", "$x"));
    assert_eq!(pairs_of("LABEL \"a b\"=$x"), one("a b", "X"));
    assert_eq!(pairs_of("ENV a=1 b=${x:-2} c="), [one("a", "1"), one("b", "X"), one("c", "")].concat());
}

#[test]
fn mistakes_are_named() {
    for (text, want) in [
        ("RUNN x", "unknown instruction \"RUNN\": did you mean RUN?"),
        ("CPOY a b", "did you mean COPY?"),
        ("WHATEVER x", "unknown instruction \"WHATEVER\""),
        ("RUN", "RUN needs at least one argument"),
        ("RUN --mount=type=cache y", "--mount=type=cache: needs target=PATH"),
        ("RUN --network=no y", "RUN --network=no: want default, none or host"),
        ("RUN --security=x y", "want sandbox or insecure"),
        ("COPY --link=x a b", "COPY --link=x: want true or false"),
        ("COPY --form=a a b", "COPY has no flag --form: did you mean --from?"),
        ("COPY --checksum=a a b", "COPY has no flag --checksum"),
        ("ADD --from=a a b", "ADD has no flag --from"),
        ("COPY --from a b", "COPY --from needs a value"),
        ("COPY --from=a --from=b a b", "stands twice"),
        ("COPY a", "at least one source"),
        ("COPY a b c", "must end with /"),
        ("ENV a", "want ENV NAME=VALUE"),
        ("ENV a=b c", "no = in \"c\""),
        ("ARG =a", "ARG =a: the name is empty"),
        ("VOLUME [\"\"]", "VOLUME has an empty argument"),
        ("VOLUME []", "VOLUME has an empty argument"),
        ("FROM a b", "FROM wants"),
        ("FROM a AS 1", "not a stage name"),
        ("SHELL sh -c", "JSON array"),
        ("CMD [\"a\", 1]", "1 in a JSON array: it holds strings only"),
        ("HEALTHCHECK CMD [[]]", "[] in a JSON array"),
        ("HEALTHCHECK --interval=5 CMD x", "not a duration"),
        ("HEALTHCHECK what", "NONE or CMD"),
        ("ONBUILD FROM x", "not allowed after ONBUILD"),
        ("ONBUILD RUNN x", "unknown instruction"),
    ] {
        let error = format!("{:#}", instruction(text).unwrap_err());
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn healthchecks() {
    let Instruction::Healthcheck(check) = instruction("HEALTHCHECK --interval=1m30s --retries=4 CMD [\"a\"]").unwrap()
    else {
        panic!()
    };
    assert_eq!((check.test, check.interval, check.retries), (vec!["CMD".into(), "a".into()], 90_000_000_000, 4));
    for (text, want) in
        [("1.5s", Some(1_500_000_000)), ("100ms", Some(100_000_000)), ("5", None), ("", None), ("s", None)]
    {
        assert_eq!(duration(text), want, "{text}");
    }
}

#[test]
fn run_documents() {
    let run = |text: &str| match instruction(text).unwrap() {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    };
    assert_eq!(run("RUN <<E\na\nb\nE\n").command, Command::Shell("a\nb\n".into()));
    assert_eq!(run("RUN cat <<E >x\na\nE\n").command, Command::Shell("cat <<E >x\na\nE".into()));
    assert_eq!(run("RUN <<E\n#!/x\nE\n").script, Some(("E".into(), "#!/x\n".into())));
    let run_with = run("RUN --mount=type=cache,target=/a --mount=target=/b --network=none x");
    assert_eq!((run_with.mounts.len(), run_with.network), (2, Network::None));
    assert_eq!(run("RUN [\"a\", \"b\"]").command, Command::Exec(vec!["a".into(), "b".into()]));
    assert_eq!(run("RUN [ -f x ]").command, Command::Shell("[ -f x ]".into()));
}
