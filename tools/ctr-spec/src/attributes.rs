//! What `--log-opt labels=…`, `env=…` and their `-regex` add to each line of the log: labels and variables of the
//! container, by which `docker logs --details` and whoever collects logs tell containers apart.

use anyhow::Context;
use bundle::LogConfig;
use regex_lite::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The attributes that the options choose; `env` is a list of NAME=VALUE.
pub fn chosen(
    config: &LogConfig,
    labels: &Map<String, Value>,
    env: &Value,
) -> anyhow::Result<BTreeMap<String, String>> {
    let option = |name: &str| config.config.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let variables = env.as_array().into_iter().flatten().filter_map(|line| line.as_str()?.split_once('='));
    let labels = labels.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let mut all = BTreeMap::new();
    for (members, list, pattern) in [
        (labels.collect::<Vec<_>>(), option("labels"), option("labels-regex")),
        (variables.collect(), option("env"), option("env-regex")),
    ] {
        let pattern = pattern.map(Regex::new).transpose();
        let pattern = pattern.context("failed to initialize logging driver: error parsing regexp")?;
        let is_listed = |name: &str| list.is_some_and(|list| list.split(',').any(|one| one == name));
        let is_wanted = |name: &str| is_listed(name) || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name));
        let wanted = members.into_iter().filter(|(name, _)| is_wanted(name));
        all.extend(wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_and_variables_by_name_and_pattern() {
        let labels = json!({"a": "1", "b": "x y", "com.one": "2", "d": "4"});
        let env = json!(["E=v=w", "F=2", "PATH=/bin"]);
        let chosen = |options: &[(&str, &str)]| {
            let config = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            chosen(&LogConfig { kind: "json-file".into(), config }, labels.as_object().unwrap(), &env)
        };
        let all = chosen(&[("labels", "b,none,a"), ("labels-regex", "^com"), ("env", "E,a"), ("env-regex", "^F$")]);
        let want = [("E", "v=w"), ("F", "2"), ("a", "1"), ("b", "x y"), ("com.one", "2")];
        assert_eq!(all.unwrap(), want.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(chosen(&[("max-size", "1m")]).unwrap().is_empty());
        assert!(chosen(&[("env-regex", "(")]).unwrap_err().to_string().contains("error parsing regexp"));
    }
}
