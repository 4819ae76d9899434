//! `--change`: Dockerfile instructions that touch only the configuration, with the effects that docker commit
//! gives them.

use crate::words;
use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

type Config = Map<String, Value>;

/// Applies the instructions in their order. The author, whom MAINTAINER names, is no part of `config`.
pub fn apply(config: &mut Config, instructions: &[String]) -> anyhow::Result<Option<String>> {
    let mut cmd_is_new = false;
    let mut author = None;
    for instruction in instructions {
        let text = instruction.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word.to_ascii_uppercase().as_str() {
            "MAINTAINER" if !rest.trim().is_empty() => author = Some(rest.trim().to_owned()),
            word => {
                one(config, word, rest.trim(), &mut cmd_is_new).with_context(|| format!("--change {instruction:?}"))?;
            }
        }
    }
    Ok(author)
}

fn one(config: &mut Config, word: &str, rest: &str, cmd_is_new: &mut bool) -> anyhow::Result<()> {
    ensure!(!rest.is_empty(), "{word} wants arguments");
    match word {
        "CMD" => {
            let command = command(config, rest);
            config.insert("Cmd".into(), command);
            *cmd_is_new = true;
        }
        "ENTRYPOINT" => {
            let command = command(config, rest);
            config.insert("Entrypoint".into(), command);
            // The arguments of another program are not this one's.
            if !*cmd_is_new {
                config.shift_remove("Cmd");
            }
        }
        "ENV" => {
            for (name, value) in pairs(config, rest)? {
                set_env(config, &name, &value);
            }
        }
        "LABEL" => {
            for (name, value) in pairs(config, rest)? {
                members(config, "Labels").insert(name, value.into());
            }
        }
        "EXPOSE" => {
            for port in plain_words(config, rest)? {
                for port in ports(&port)? {
                    members(config, "ExposedPorts").insert(port, json!({}));
                }
            }
        }
        "VOLUME" => {
            let paths = match exec_form(rest) {
                Some(paths) => paths,
                None => plain_words(config, rest)?,
            };
            for path in paths {
                ensure!(!path.trim().is_empty(), "VOLUME wants a path");
                members(config, "Volumes").insert(path, json!({}));
            }
        }
        "USER" => drop(config.insert("User".into(), whole(config, rest)?.into())),
        "WORKDIR" => {
            let path = working_dir(config, &whole(config, rest)?);
            config.insert("WorkingDir".into(), path.into());
        }
        "STOPSIGNAL" => drop(config.insert("StopSignal".into(), whole(config, rest)?.into())),
        "SHELL" => {
            let shell = exec_form(rest).context("SHELL wants a JSON array of words")?;
            config.insert("Shell".into(), shell.into());
        }
        "ONBUILD" => {
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            ensure!(!["ONBUILD", "FROM", "MAINTAINER"].contains(&trigger.as_str()), "{trigger} is no ONBUILD trigger");
            match config.entry("OnBuild").or_insert_with(|| json!([])) {
                Value::Array(triggers) => triggers.push(rest.into()),
                other => *other = json!([rest]),
            }
        }
        "HEALTHCHECK" => {
            let check = healthcheck(config, rest)?;
            config.insert("Healthcheck".into(), check);
        }
        _ => bail!(
            "{word} is not one of CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR"
        ),
    }
    Ok(())
}

/// A JSON array of strings; anything else is the shell form.
fn exec_form(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

fn command(config: &Config, rest: &str) -> Value {
    if let Some(words) = exec_form(rest) {
        return words.into();
    }
    let mut words = match config.get("Shell").and_then(Value::as_array) {
        Some(shell) if !shell.is_empty() => shell.clone(),
        _ => vec!["/bin/sh".into(), "-c".into()],
    };
    words.push(rest.into());
    words.into()
}

fn environment(config: &Config) -> impl Fn(&str) -> Option<String> + '_ {
    |name| {
        let variables = config.get("Env")?.as_array()?;
        let found =
            variables.iter().filter_map(Value::as_str).filter_map(|v| v.split_once('=')).find(|(n, _)| *n == name);
        found.map(|(_, value)| value.to_owned())
    }
}

fn plain_words(config: &Config, rest: &str) -> anyhow::Result<Vec<String>> {
    words::split(rest).iter().map(|word| words::unquote(word, &environment(config))).collect()
}

fn whole(config: &Config, rest: &str) -> anyhow::Result<String> {
    words::unquote(rest, &environment(config))
}

/// `NAME=VALUE ...`, or the old form `NAME VALUE` whose value is the rest of the line.
fn pairs(config: &Config, rest: &str) -> anyhow::Result<Vec<(String, String)>> {
    let variable = environment(config);
    let words = words::split(rest);
    if !words.first().is_some_and(|first| first.contains('=')) {
        let Some((name, value)) = rest.split_once(char::is_whitespace) else { bail!("{rest:?}: want NAME=VALUE") };
        return Ok(vec![(name.into(), words::unquote(value.trim(), &variable)?)]);
    }
    let pair = |word: &String| {
        let Some((name, value)) = word.split_once('=') else { bail!("{word:?}: want NAME=VALUE") };
        let name = words::unquote(name, &variable)?;
        ensure!(!name.is_empty(), "{word:?}: the name is empty");
        Ok((name, words::unquote(value, &variable)?))
    };
    words.iter().map(pair).collect()
}

fn set_env(config: &mut Config, name: &str, value: &str) {
    let line = Value::from(format!("{name}={value}"));
    let Value::Array(variables) = config.entry("Env").or_insert_with(|| json!([])) else {
        config.insert("Env".into(), json!([line]));
        return;
    };
    let same = |old: &&mut Value| old.as_str().is_some_and(|old| old.split('=').next() == Some(name));
    match variables.iter_mut().find(same) {
        Some(old) => *old = line,
        None => variables.push(line),
    }
}

fn members<'a>(config: &'a mut Config, name: &str) -> &'a mut Map<String, Value> {
    let member = config.entry(name).or_insert_with(|| json!({}));
    if !member.is_object() {
        *member = json!({});
    }
    match member {
        Value::Object(members) => members,
        _ => unreachable!("made an object above"),
    }
}

/// `PORT[-PORT][/PROTOCOL]`, one entry a port.
fn ports(text: &str) -> anyhow::Result<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { bail!("{text:?} is no port") };
    ensure!(["tcp", "udp", "sctp"].contains(&protocol.as_str()), "{text:?}: the protocol is tcp, udp or sctp");
    ensure!(first <= last, "{text:?}: the range is empty");
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Relative to the working directory so far; `.` and `..` are worked out as text.
fn working_dir(config: &Config, path: &str) -> String {
    let old = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{old}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(config: &Config, rest: &str) -> anyhow::Result<Value> {
    if rest.eq_ignore_ascii_case("NONE") {
        return Ok(json!({"Test": ["NONE"]}));
    }
    let mut check = Map::new();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).context("no CMD after the options")?;
        let Some((name, value)) = option.split_once('=') else { bail!("--{option}: want --NAME=VALUE") };
        let value = whole(config, value)?;
        match name {
            "interval" => drop(check.insert("Interval".into(), nanoseconds(&value)?.into())),
            "timeout" => drop(check.insert("Timeout".into(), nanoseconds(&value)?.into())),
            "start-period" => drop(check.insert("StartPeriod".into(), nanoseconds(&value)?.into())),
            "start-interval" => drop(check.insert("StartInterval".into(), nanoseconds(&value)?.into())),
            "retries" => drop(check.insert("Retries".into(), value.parse::<u32>().context("--retries")?.into())),
            _ => bail!("--{name}: no such option of HEALTHCHECK"),
        }
        rest = after.trim_start();
    }
    let Some((_, command)) = rest.split_once(char::is_whitespace).filter(|(word, _)| word.eq_ignore_ascii_case("CMD"))
    else {
        bail!("HEALTHCHECK wants NONE or CMD, not {rest:?}");
    };
    let test = match exec_form(command.trim()) {
        Some(words) => [vec!["CMD".to_owned()], words].concat(),
        None => vec!["CMD-SHELL".into(), command.trim().into()],
    };
    let mut whole = Map::new();
    whole.insert("Test".into(), test.into());
    whole.extend(check);
    Ok(whole.into())
}

/// Go's durations: `1h30m`, `2.5s`, `300ms`.
fn nanoseconds(text: &str) -> anyhow::Result<u64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().with_context(|| format!("{text:?} is no duration like 1m30s"))?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |i| end + i);
        let unit = match &rest[end..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => bail!("{text:?} is no duration like 1m30s"),
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    // Docker's own limit from below: a shorter one would never be met.
    ensure!(total == 0.0 || total >= 1e6, "{text:?}: shorter than 1ms");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a cap is fine")]
    Ok(total as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(base: Value, instructions: &[&str]) -> Value {
        let Value::Object(mut config) = base else { panic!("an object") };
        apply(&mut config, &instructions.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>()).unwrap();
        config.into()
    }

    #[test]
    fn instructions_have_dockers_effects() {
        for (base, instructions, want) in [
            (json!({}), vec!["CMD [\"a\",\"b\"]"], json!({"Cmd": ["a", "b"]})),
            (json!({}), vec!["cmd echo hi"], json!({"Cmd": ["/bin/sh", "-c", "echo hi"]})),
            (
                json!({"Shell": ["/bin/bash"]}),
                vec!["CMD x"],
                json!({"Shell": ["/bin/bash"], "Cmd": ["/bin/bash", "x"]}),
            ),
            (json!({"Cmd": ["old"]}), vec!["ENTRYPOINT [\"/e\"]"], json!({"Entrypoint": ["/e"]})),
            (json!({}), vec!["CMD [\"c\"]", "ENTRYPOINT [\"/e\"]"], json!({"Cmd": ["c"], "Entrypoint": ["/e"]})),
            (
                json!({"Env": ["PATH=/bin", "A=1"]}),
                vec!["ENV PATH=$PATH:/x A='2 $A' B=\"3\"", "ENV C d e"],
                json!({"Env": ["PATH=/bin:/x", "A=2 $A", "B=3", "C=d e"]}),
            ),
            (json!({}), vec!["LABEL a=b \"c d\"=\"e f\""], json!({"Labels": {"a": "b", "c d": "e f"}})),
            (
                json!({}),
                vec!["EXPOSE 80 53/udp 7-8"],
                json!({"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "7/tcp": {}, "8/tcp": {}}}),
            ),
            (
                json!({}),
                vec!["VOLUME /a /b", "VOLUME [\"/c d\"]"],
                json!({"Volumes": {"/a": {}, "/b": {}, "/c d": {}}}),
            ),
            (json!({"WorkingDir": "/a"}), vec!["WORKDIR b/../c"], json!({"WorkingDir": "/a/c"})),
            (json!({}), vec!["USER 1000:10"], json!({"User": "1000:10"})),
            (
                json!({}),
                vec!["ONBUILD RUN make", "STOPSIGNAL SIGINT"],
                json!({"OnBuild": ["RUN make"], "StopSignal": "SIGINT"}),
            ),
            (
                json!({}),
                vec!["HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f x"],
                json!({"Healthcheck": {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 90_000_000_000u64, "Retries": 2}}),
            ),
            (json!({}), vec!["HEALTHCHECK NONE"], json!({"Healthcheck": {"Test": ["NONE"]}})),
        ] {
            assert_eq!(changed(base, &instructions), want, "{instructions:?}");
        }
    }

    #[test]
    fn what_is_no_change() {
        for bad in [
            "",
            "CMD",
            "RUN x",
            "COPY a b",
            "ENV X",
            "EXPOSE x",
            "EXPOSE 9-8",
            "EXPOSE 1/icmp",
            "SHELL /bin/sh",
            "MAINTAINER",
            "HEALTHCHECK --interval=x CMD y",
            "HEALTHCHECK y",
            "ONBUILD FROM x",
            "LABEL =x",
            "ENV A='b",
        ] {
            assert!(apply(&mut Map::new(), &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
