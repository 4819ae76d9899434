//! What the instructions without files change: the image configuration, member by member as docker has it, and
//! the line in the history as BuildKit words it.

mod healthcheck;
mod port;
mod signal;

use crate::{Command, Instruction, ignore};
use anyhow::bail;
use port::ports;
use serde_json::{Map, Value, json};
use signal::is_signal;

/// What docker gives an image that does not say it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The `config` member of an image configuration, and what is known of the stage beside it.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// As stored, members that nobody here knows included.
    pub members: Map<String, Value>,
    /// Whom MAINTAINER names: no part of the members.
    pub author: Option<String>,
    /// CMD of this stage survives an ENTRYPOINT of this stage.
    cmd_is_set: bool,
}

impl Config {
    /// A stage from nothing.
    pub fn scratch() -> Self {
        let mut config = Self::default();
        config.members.insert("Env".into(), json!([format!("PATH={DEFAULT_PATH}")]));
        config.members.insert("WorkingDir".into(), "/".into());
        config
    }

    /// Just what an image has.
    pub fn of_members(members: Map<String, Value>) -> Self {
        Self { members, ..Self::default() }
    }

    /// A stage from an image: its whole configuration document.
    pub fn of_image(document: &Value) -> Self {
        let members = document.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut config = Self::of_members(members);
        if !config.env().iter().any(|(name, _)| name == "PATH") {
            config.set_env("PATH", DEFAULT_PATH);
        }
        config
    }

    /// The environment in its order; an entry without `=` has an empty value.
    pub fn env(&self) -> Vec<(String, String)> {
        let split = |entry: &String| {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            (name.to_owned(), value.to_owned())
        };
        self.strings("Env").iter().map(split).collect()
    }

    /// Where RUN, CMD and ENTRYPOINT start, `/` unless somebody said so.
    pub fn working_dir(&self) -> &str {
        match self.text("WorkingDir") {
            "" => "/",
            path => path,
        }
    }

    /// Who runs them, as written; empty for root.
    pub fn user(&self) -> &str {
        self.text("User")
    }

    /// What a command in its shell form is given to.
    pub fn shell(&self) -> Vec<String> {
        match self.strings("Shell") {
            own if own.is_empty() => vec!["/bin/sh".into(), "-c".into()],
            own => own,
        }
    }

    /// The argument list of a command in either form.
    pub fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => [self.shell(), vec![line.clone()]].concat(),
        }
    }

    /// A stage on top of this one: its ENTRYPOINT clears the CMD that it finds.
    pub fn begin_stage(&mut self) {
        self.cmd_is_set = false;
    }

    /// Takes the triggers that the base image left for its children.
    pub fn take_onbuild(&mut self) -> Vec<String> {
        let triggers = self.strings("OnBuild");
        self.members.shift_remove("OnBuild");
        triggers
    }

    /// Applies an expanded instruction; the answer is its line in the history.
    ///
    /// # Errors
    /// When it has files or a stage to do with, or a value that docker refuses.
    pub fn apply(&mut self, instruction: &Instruction) -> anyhow::Result<String> {
        Ok(match instruction {
            Instruction::Env(list) => {
                for (name, value) in list {
                    self.set_env(name, value);
                }
                format!("ENV {}", joined(list))
            }
            Instruction::Label(list) => {
                for (name, value) in list {
                    self.object("Labels").insert(name.clone(), value.as_str().into());
                }
                format!("LABEL {}", joined(list))
            }
            Instruction::Expose(list) => self.expose(list)?,
            Instruction::Volume(list) => self.volume(list)?,
            Instruction::Workdir(path) => {
                if path.is_empty() {
                    bail!("WORKDIR: the path is empty once its variables are put in");
                }
                let path = absolute(self.working_dir(), path);
                self.members.insert("WorkingDir".into(), path.as_str().into());
                format!("WORKDIR {path}")
            }
            Instruction::User(user) => {
                if user.is_empty() {
                    bail!("USER: the name is empty once its variables are put in");
                }
                self.members.insert("User".into(), user.as_str().into());
                format!("USER {user}")
            }
            Instruction::StopSignal(signal) => {
                if !is_signal(signal) {
                    bail!("STOPSIGNAL {signal}: no such signal");
                }
                self.members.insert("StopSignal".into(), signal.as_str().into());
                format!("STOPSIGNAL {signal}")
            }
            Instruction::Maintainer(author) => {
                self.author = Some(author.clone());
                format!("MAINTAINER {author}")
            }
            Instruction::Cmd(command) => self.cmd(command),
            Instruction::Entrypoint(command) => self.entrypoint(command),
            Instruction::Shell(words) => {
                self.members.insert("Shell".into(), words.clone().into());
                format!("SHELL [{}]", words.join(" "))
            }
            Instruction::Healthcheck(check) => {
                self.members.insert("Healthcheck".into(), healthcheck::member(check));
                format!("HEALTHCHECK {}", healthcheck::line(check))
            }
            Instruction::Onbuild(line) => self.onbuild(line),
            Instruction::From { .. } | Instruction::Arg(_) | Instruction::Run(_) | Instruction::Copy(_) => {
                bail!("not an instruction of the configuration")
            }
        })
    }

    fn expose(&mut self, list: &[String]) -> anyhow::Result<String> {
        let mut ports = list.iter().map(|word| ports(word)).collect::<anyhow::Result<Vec<_>>>()?.concat();
        ports.sort();
        ports.dedup();
        for port in &ports {
            self.object("ExposedPorts").insert(port.clone(), json!({}));
        }
        Ok(format!("EXPOSE [{}]", ports.join(" ")))
    }

    fn volume(&mut self, list: &[String]) -> anyhow::Result<String> {
        for path in list {
            if path.is_empty() {
                bail!("VOLUME: a path is empty");
            }
            self.object("Volumes").insert(path.clone(), json!({}));
        }
        Ok(format!("VOLUME [{}]", list.join(" ")))
    }

    fn cmd(&mut self, command: &Command) -> String {
        let argv = self.argv(command);
        self.cmd_is_set = true;
        let line = format!("CMD {}", quoted(&argv));
        self.members.insert("Cmd".into(), argv.into());
        line
    }

    /// The arguments of another program are not this one's.
    fn entrypoint(&mut self, command: &Command) -> String {
        let argv = self.argv(command);
        if !self.cmd_is_set {
            self.members.shift_remove("Cmd");
        }
        let line = format!("ENTRYPOINT {}", quoted(&argv));
        self.members.insert("Entrypoint".into(), argv.into());
        line
    }

    fn onbuild(&mut self, line: &str) -> String {
        match self.members.get_mut("OnBuild").and_then(Value::as_array_mut) {
            Some(list) => list.push(line.into()),
            None => drop(self.members.insert("OnBuild".into(), json!([line]))),
        }
        format!("ONBUILD {line}")
    }

    fn set_env(&mut self, name: &str, value: &str) {
        let entry = Value::from(format!("{name}={value}"));
        let mut list = self.members.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
        let same = |old: &Value| old.as_str().is_some_and(|old| old.split('=').next() == Some(name));
        match list.iter().position(same) {
            Some(index) => list[index] = entry,
            None => list.push(entry),
        }
        self.members.insert("Env".into(), list.into());
    }

    fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn strings(&self, name: &str) -> Vec<String> {
        let list = self.members.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(Into::into).collect()
    }

    /// A member that is an object, made when it is absent or null.
    fn object(&mut self, name: &str) -> &mut Map<String, Value> {
        let member = self.members.entry(name).or_insert(Value::Null);
        if !member.is_object() {
            *member = Value::Object(Map::new());
        }
        match member {
            Value::Object(map) => map,
            _ => unreachable!("made an object just now"),
        }
    }
}

/// A path against the working directory, cleaned: `..` does not leave the root.
pub fn absolute(working_dir: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{working_dir}/{path}") };
    match ignore::clean(&joined).as_str() {
        "." => "/".into(),
        clean => format!("/{clean}"),
    }
}

fn joined(list: &[(String, String)]) -> String {
    list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Go's `%q` of a list: `["a" "b"]`.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn build(mut config: Config, text: &str) -> anyhow::Result<(Config, Vec<String>)> {
        let file = parse(text.as_bytes(), "Dockerfile")?;
        let mut history = Vec::new();
        for statement in &file.statements {
            history.push(config.apply(&Instruction::of(statement, '\\')?.expanded('\\', &|_| None)?)?);
        }
        Ok((config, history))
    }

    #[test]
    fn members_and_history() {
        let text = "ENV a=1 b=2\nENV a=3\nLABEL x=\"y z\"\nEXPOSE 80 53/udp 7000-7001\nVOLUME /d\nWORKDIR /w\nWORKDIR v/../u\nUSER 1:2\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/bash\",\"-c\"]\nCMD echo hi\nENTRYPOINT [\"/e\", \"a b\"]\nHEALTHCHECK --interval=90s --retries=3 CMD true\nONBUILD RUN x";
        let (config, history) = build(Config::scratch(), text).unwrap();
        assert_eq!(
            Value::Object(config.members),
            json!({
                "Env": [format!("PATH={DEFAULT_PATH}"), "a=3", "b=2"],
                "WorkingDir": "/w/u",
                "Labels": {"x": "y z"},
                "ExposedPorts": {"53/udp": {}, "7000/tcp": {}, "7001/tcp": {}, "80/tcp": {}},
                "Volumes": {"/d": {}},
                "User": "1:2",
                "StopSignal": "SIGINT",
                "Shell": ["/bin/bash", "-c"],
                "Cmd": ["/bin/bash", "-c", "echo hi"],
                "Entrypoint": ["/e", "a b"],
                "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 90_000_000_000u64, "Retries": 3},
                "OnBuild": ["RUN x"],
            })
        );
        assert_eq!(history[0], "ENV a=1 b=2");
        assert_eq!(history[3], "EXPOSE [53/udp 7000/tcp 7001/tcp 80/tcp]");
        assert_eq!(history[6], "WORKDIR /w/u");
        assert_eq!(history[10], r#"CMD ["/bin/bash" "-c" "echo hi"]"#);
        assert_eq!(history[12], r#"HEALTHCHECK &{["CMD-SHELL" "true"] "1m30s" "0s" "0s" "0s" '\x03'}"#);
    }

    #[test]
    fn an_entrypoint_clears_an_inherited_command() {
        let base = json!({"config": {"Cmd": ["old"], "Labels": null, "Extra": 1}});
        let (config, _) = build(Config::of_image(&base), "ENTRYPOINT [\"/e\"]\nLABEL a=b").unwrap();
        assert_eq!(config.members.get("Cmd"), None);
        assert_eq!(config.members.get("Extra"), Some(&json!(1)));
        assert_eq!(config.members.get("Labels"), Some(&json!({"a": "b"})));
        let (config, _) = build(Config::of_image(&base), "CMD [\"new\"]\nENTRYPOINT [\"/e\"]").unwrap();
        assert_eq!(config.members.get("Cmd"), Some(&json!(["new"])));
    }

    #[test]
    fn mistakes() {
        for text in [
            "EXPOSE 70000",
            "EXPOSE 80/xyz",
            "EXPOSE 9-8",
            "STOPSIGNAL NOPE",
            "STOPSIGNAL 0",
            "STOPSIGNAL RTMIN+16",
            "EXPOSE a:80",
            "EXPOSE x:1:80",
            "WORKDIR $no",
        ] {
            assert!(build(Config::scratch(), text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for (dir, path, want) in
            [("/", "a", "/a"), ("/w", "../../x", "/x"), ("/w", "/", "/"), ("/w", ".", "/w"), ("/", "..", "/")]
        {
            assert_eq!(absolute(dir, path), want);
        }
    }
}
