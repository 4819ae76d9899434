//! `--expose`: ports on which the container says that it listens. Nothing is opened by it; publishing all of them, and
//! whoever reads docker's inspect, want the list.

use crate::flag;
use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Note that the container listens on a port, or a range of them, besides those of the image
    #[arg(long, value_name = "PORT[-PORT][/PROTOCOL]")]
    expose: Vec<String>,
}

/// As docker's `Config.ExposedPorts` has them: those of the image, of an earlier ctr-spec, of the options.
pub fn ports(options: &Options, image: &Value, before: &Value) -> anyhow::Result<Value> {
    let mut ports: Map<String, Value> = Map::new();
    for old in [&image["config"]["ExposedPorts"], &before["exposedPorts"]] {
        ports.extend(old.as_object().cloned().unwrap_or_default());
    }
    for text in &options.expose {
        if text.contains(':') {
            return Err(toolkit::usage(format!("invalid port format for --expose: {text}")));
        }
        let (range, protocol) = text.split_once('/').unwrap_or((text, ""));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        let wrong = |why| toolkit::usage(format!("invalid range format for --expose: {text}, error: {why}"));
        let (first, last) = parse(range).map_err(wrong)?;
        ports.extend((first..=last).map(|port| (format!("{port}/{protocol}"), json!({}))));
    }
    ports.sort_keys();
    Ok(if ports.is_empty() { Value::Null } else { ports.into() })
}

/// `80` or `90-92`.
fn parse(range: &str) -> anyhow::Result<(i64, i64)> {
    if range.is_empty() {
        bail!("Empty string specified for ports.");
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text| flag::UINT16.number(text).map_err(anyhow::Error::msg);
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        bail!("Invalid range specified for the Port: {range}");
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_docker_s() {
        let ports = |list: &[&str]| {
            let options = Options { expose: list.iter().map(|text| (*text).into()).collect() };
            ports(
                &options,
                &json!({"config": {"ExposedPorts": {"9/tcp": {}}}}),
                &json!({"exposedPorts": {"8/udp": {}}}),
            )
        };
        let all = ports(&["80", "90-91/udp", "80/"]).unwrap();
        assert_eq!(all, json!({"80/tcp": {}, "8/udp": {}, "90/udp": {}, "91/udp": {}, "9/tcp": {}}));
        for (text, words) in [
            ("80:", "invalid port format for --expose: 80:"),
            ("", "error: Empty string specified for ports."),
            ("90-80", "error: Invalid range specified for the Port: 90-80"),
            ("-5", "strconv.ParseUint: parsing \"\": invalid syntax"),
            ("+5", "strconv.ParseUint: parsing \"+5\": invalid syntax"),
            ("65536/udp", "strconv.ParseUint: parsing \"65536\": value out of range"),
        ] {
            let said = ports(&[text]).unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
