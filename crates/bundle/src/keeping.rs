//! How a container wants to be kept: the members of `container.json` that ctr-spec writes and whoever keeps,
//! stops or shows the container reads. Named as in docker's inspect, in lowerCamelCase.

use crate::Meta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The wishes, docker's defaults where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Keeping {
    /// When it is started again.
    pub restart: Restart,
    /// How its health is probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The signal that asks it to end: a name or a number; SIGTERM without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL; 10 without it, -1 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// It goes when it has ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_remove: bool,
    /// Its standard input stays open for who attaches.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_stdin: bool,
    /// It has a terminal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// Where its output is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_config: Option<LogConfig>,
    /// What stands in each line of the log besides: labels and variables that the options of the log chose.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub log_attributes: BTreeMap<String, String>,
}

/// `--restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub name: String,
    /// With `on-failure`: how often at most; 0 for ever.
    #[serde(default)]
    pub maximum_retry_count: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { name: "no".into(), maximum_retry_count: 0 }
    }
}

/// HEALTHCHECK, as the image configuration has it: times are nanoseconds, and 0 means docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", text]`, `["NONE"]`.
    pub test: Vec<String>,
    /// Between the end of one probe and the start of the next; 30 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// A probe that takes longer has failed; 30 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Failures do not count until then; 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// The interval in that time; 5 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// So many failures one after the other are ill health; 3.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// `--log-driver` and `--log-opt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `max-size`, `max-file`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

impl LogConfig {
    /// Bytes of one file, and how many files, when nothing else is asked for: a log never fills a disk.
    pub const USUAL: (u64, u32) = (10 << 20, 3);

    /// Bytes of one file and how many files, or what is wrong with the options; docker's words. -1 bytes is
    /// no limit, as in docker.
    pub fn bounds(&self) -> std::result::Result<(u64, u32), String> {
        let (mut size, mut files) = Self::USUAL;
        for (name, value) in &self.config {
            match name.as_str() {
                "max-size" => {
                    let wrong = || format!("failed to initialize logging driver: invalid size: '{value}'");
                    size = parse_size(value).ok_or_else(wrong)?;
                }
                "max-file" => {
                    files = value.parse().map_err(|_| format!("invalid value for max-file: {value:?}"))?;
                    if files < 1 {
                        return Err("max-file cannot be less than 1".into());
                    }
                }
                // What they add to each line ctr-spec notes; a tag, which docker's json-file adds too, is left out.
                "labels" | "labels-regex" | "env" | "env-regex" | "tag" | "compress" | "mode" => {}
                other => return Err(format!("unknown log opt '{other}' for {} log driver", self.kind)),
            }
        }
        Ok((size, files))
    }
}

/// `10m`, `1.5g`, `-1`: units of 1024.
fn parse_size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(u64::MAX);
    }
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("ib").or(text.strip_suffix('b')).unwrap_or(&text);
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.trim() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << unit).filter(|bytes| *bytes > 0)
}

impl Meta {
    /// How it wants to be kept. Members of another type than ours count as not there.
    pub fn keeping(&self) -> Keeping {
        let one = |name: &str| -> Map<String, Value> {
            self.rest.get(name).map(|value| (name.to_owned(), value.clone())).into_iter().collect()
        };
        match serde_json::from_value(Value::Object(self.rest.clone())) {
            Ok(all) => all,
            Err(_) => Keeping {
                restart: part(one("restart")).restart,
                healthcheck: part(one("healthcheck")).healthcheck,
                stop_signal: part(one("stopSignal")).stop_signal,
                stop_timeout: part(one("stopTimeout")).stop_timeout,
                auto_remove: part(one("autoRemove")).auto_remove,
                open_stdin: part(one("openStdin")).open_stdin,
                tty: part(one("tty")).tty,
                log_config: part(one("logConfig")).log_config,
                log_attributes: part(one("logAttributes")).log_attributes,
            },
        }
    }
}

fn part(members: Map<String, Value>) -> Keeping {
    serde_json::from_value(Value::Object(members)).unwrap_or_default()
}

impl Keeping {
    /// The members, to be put into [`Meta::rest`]. One that is absent here is removed there.
    pub fn store(&self, rest: &mut Map<String, Value>) {
        let Ok(Value::Object(members)) = serde_json::to_value(self) else { return };
        let all = [
            "restart",
            "healthcheck",
            "stopSignal",
            "stopTimeout",
            "autoRemove",
            "openStdin",
            "tty",
            "logConfig",
            "logAttributes",
        ];
        for name in all {
            match members.get(name) {
                Some(value) => drop(rest.insert(name.into(), value.clone())),
                None => drop(rest.shift_remove(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_come_back_as_they_were_stored() {
        let keeping = Keeping {
            restart: Restart { name: "on-failure".into(), maximum_retry_count: 3 },
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".into(), "true".into()],
                interval: 5,
                ..Default::default()
            }),
            stop_timeout: Some(-1),
            auto_remove: true,
            ..Keeping::default()
        };
        let text = r#"{"id":"a","name":"n","created":"","command":[],"other":1}"#;
        let mut meta: Meta = serde_json::from_str(text).unwrap();
        assert_eq!(meta.keeping(), Keeping::default());
        keeping.store(&mut meta.rest);
        assert_eq!(meta.keeping(), keeping);
        assert_eq!(meta.rest["healthcheck"]["Interval"], 5);
        assert_eq!(meta.rest["other"], 1);
        meta.rest.insert("stopTimeout".into(), "soon".into());
        assert_eq!(meta.keeping(), Keeping { stop_timeout: None, ..keeping });
    }

    #[test]
    fn log_options_are_checked() {
        let bounds = |pairs: &[(&str, &str)]| {
            let config = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            LogConfig { kind: "json-file".into(), config }.bounds()
        };
        assert_eq!(bounds(&[]), Ok(LogConfig::USUAL));
        assert_eq!(bounds(&[("max-size", "1k"), ("max-file", "1")]), Ok((1024, 1)));
        assert_eq!(bounds(&[("max-size", "2mb")]).unwrap().0, 2 << 20);
        assert_eq!(bounds(&[("max-size", "-1")]).unwrap().0, u64::MAX);
        for bad in [("max-size", "0"), ("max-size", "x"), ("max-size", "99999999999t"), ("max-file", "0"), ("x", "")] {
            assert!(bounds(&[bad]).is_err(), "{bad:?}");
        }
    }
}
