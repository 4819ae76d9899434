//! `--change`: Dockerfile instructions that touch only the configuration, with the effects that docker commit
//! gives them.

use anyhow::{Context, ensure};
use dockerfile::{Config, Instruction, Statement};
use serde_json::{Map, Value};

const KNOWN: &str =
    "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR";

/// Applies the instructions in their order. The author, whom MAINTAINER names, is no part of the members.
pub fn apply(members: &mut Map<String, Value>, instructions: &[String]) -> anyhow::Result<Option<String>> {
    let mut config = Config::of_members(std::mem::take(members));
    for instruction in instructions {
        one(&mut config, instruction).with_context(|| format!("--change {instruction:?}"))?;
    }
    *members = config.members;
    Ok(config.author)
}

/// Variables are those of the image's own environment.
fn one(config: &mut Config, text: &str) -> anyhow::Result<()> {
    let statement = Statement::from_line(text, 1, '\\')?;
    ensure!(KNOWN.split(' ').any(|known| known == statement.name), "{} is not one of {KNOWN}", statement.name);
    let env = config.env();
    let variable = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    config.apply(&Instruction::of(&statement, '\\')?.expanded('\\', &variable)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
