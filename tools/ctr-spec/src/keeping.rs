//! How the container is kept while it lives: what whoever starts, stops or watches it reads in `container.json`.

use crate::flag;
use anyhow::{Context, bail};
use bundle::{Healthcheck, Keeping, LogConfig, Restart};
use clap::Args;
use jiff::SignedDuration;
use serde_json::Value;

#[derive(Debug, Default, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Options {
    /// Start it again when it has ended: no, on-failure[:TIMES], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,

    /// Remove it when it has ended
    #[arg(long)]
    rm: bool,

    /// Keep its standard input open
    #[arg(short, long)]
    interactive: bool,

    /// The signal that asks it to end, in place of the image's
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,

    /// Seconds that it has to end before it is killed
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = flag::INT)]
    stop_timeout: Option<i64>,

    /// Where its output is kept: json-file, or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,

    /// Options of that: max-size=SIZE, max-file=NUMBER, labels=NAMES, env=NAMES, labels-regex and env-regex=PATTERN
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,

    /// The command that probes its health, in place of the image's
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,

    /// The time between two probes
    #[arg(long, value_name = "DURATION")]
    health_interval: Option<String>,

    /// The time that a probe may take
    #[arg(long, value_name = "DURATION")]
    health_timeout: Option<String>,

    /// The time at the start in which failures do not count
    #[arg(long, value_name = "DURATION")]
    health_start_period: Option<String>,

    /// The time between two probes at the start
    #[arg(long, value_name = "DURATION")]
    health_start_interval: Option<String>,

    /// So many failures one after the other are ill health
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = flag::INT)]
    health_retries: Option<i64>,

    /// No probes, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

/// Only a container below the root is kept by anybody.
pub fn check(options: &Options, container: bool) -> anyhow::Result<()> {
    if !container && *options != Options::default() {
        return Err(toolkit::usage(
            "--restart, --rm, --interactive, --stop-…, --log-… and --health-… are for a bundle in $DOCK_ROOT/containers/<ID>",
        ));
    }
    Ok(())
}

/// What the options and the image say; `before` is what an earlier ctr-spec wrote.
pub fn keeping(options: &Options, image: &Value, tty: bool, before: Option<Keeping>) -> anyhow::Result<Keeping> {
    let mut keeping = before.unwrap_or_else(|| Keeping {
        healthcheck: serde_json::from_value(image["config"]["Healthcheck"].clone()).ok(),
        stop_signal: image["config"]["StopSignal"].as_str().map(Into::into).filter(|name: &String| !name.is_empty()),
        ..Keeping::default()
    });
    if let Some(policy) = &options.restart {
        keeping.restart = restart(policy)?;
    }
    keeping.auto_remove |= options.rm;
    if keeping.auto_remove && keeping.restart.name != "no" {
        return Err(toolkit::usage("conflicting options: cannot specify both --restart and --rm"));
    }
    keeping.open_stdin |= options.interactive;
    keeping.tty = tty;
    if let Some(signal) = &options.stop_signal {
        bundle::signals::number(signal).with_context(|| format!("Invalid signal: {signal}"))?;
        keeping.stop_signal = Some(signal.clone());
    }
    keeping.stop_timeout = options.stop_timeout.or(keeping.stop_timeout);
    if options.log_driver.is_some() || !options.log_opt.is_empty() {
        keeping.log_config = Some(log_config(options)?);
    }
    set_health(&mut keeping, options)?;
    Ok(keeping)
}

/// Docker's words for what is wrong.
fn restart(policy: &str) -> anyhow::Result<Restart> {
    let (name, count) = policy.split_once(':').map_or((policy, None), |(name, count)| (name, Some(count)));
    let maximum_retry_count = match (name, count) {
        (_, None) => 0,
        ("on-failure", Some(count)) => {
            let words = "invalid restart policy format: maximum retry count must be an integer";
            count.parse().map_err(|_| toolkit::usage(words))?
        }
        (name, _) => bail!("maximum retry count cannot be used with restart policy '{name}'"),
    };
    match name {
        "" => Ok(Restart::default()),
        "no" | "always" | "on-failure" | "unless-stopped" => Ok(Restart { name: name.into(), maximum_retry_count }),
        other => bail!("invalid restart policy '{other}'"),
    }
}

fn log_config(options: &Options) -> anyhow::Result<LogConfig> {
    let kind = options.log_driver.clone().filter(|driver| !driver.is_empty()).unwrap_or_else(|| "json-file".into());
    if !matches!(kind.as_str(), "json-file" | "none" | "local") {
        bail!("error looking up logging plugin {kind}: plugin {kind:?} not found");
    }
    let pair = |option: &String| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        (name.to_owned(), value.to_owned())
    };
    let config = LogConfig { kind, config: options.log_opt.iter().map(pair).collect() };
    config.bounds().map_err(anyhow::Error::msg)?;
    Ok(config)
}

/// A duration of less than a millisecond, which is not a slip of the pen but no use.
#[derive(Debug, thiserror::Error)]
#[error("less than 1ms")]
struct TooShort;

fn set_health(keeping: &mut Keeping, options: &Options) -> anyhow::Result<()> {
    let times = [
        ("health-interval", "Interval", &options.health_interval),
        ("health-timeout", "Timeout", &options.health_timeout),
        ("health-start-period", "StartPeriod", &options.health_start_period),
        ("health-start-interval", "StartInterval", &options.health_start_interval),
    ];
    let asked =
        options.health_cmd.is_some() || options.health_retries.is_some() || times.iter().any(|(.., t)| t.is_some());
    if options.no_healthcheck {
        if asked {
            return Err(toolkit::usage("--no-healthcheck conflicts with --health-* options"));
        }
        keeping.healthcheck = Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() });
        return Ok(());
    }
    if !asked {
        return Ok(());
    }
    let health = keeping.healthcheck.get_or_insert_default();
    if let Some(command) = &options.health_cmd {
        health.test = vec!["CMD-SHELL".into(), command.clone()];
    }
    let members = [&mut health.interval, &mut health.timeout, &mut health.start_period, &mut health.start_interval];
    for (member, (name, shown, text)) in members.into_iter().zip(times) {
        if let Some(text) = text {
            *member = nanoseconds(text).map_err(|why| match why.downcast_ref::<TooShort>() {
                Some(_) => anyhow::anyhow!("{shown} in Healthcheck cannot be less than 1ms"),
                None => flag::refused(&format!("--{name}"), text, why),
            })?;
        }
    }
    if let Some(retries) = options.health_retries {
        let cannot = |_| toolkit::usage("--health-retries cannot be negative");
        health.retries = u64::try_from(retries).map_err(cannot)?;
    }
    Ok(())
}

/// Go's durations: `1m30s`, `500ms`, `0`; what is wrong with others in Go's words.
fn nanoseconds(text: &str) -> anyhow::Result<u64> {
    if text == "0" {
        return Ok(0);
    }
    let duration: SignedDuration = match text.parse() {
        Ok(duration) => duration,
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            bail!("time: missing unit in duration {text:?}")
        }
        Err(_) => bail!("time: invalid duration {text:?}"),
    };
    if duration.is_negative() || !duration.is_zero() && duration < SignedDuration::from_millis(1) {
        return Err(TooShort.into());
    }
    Ok(u64::try_from(duration.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_in_docker_s_words() {
        assert_eq!(restart("on-failure:3").unwrap(), Restart { name: "on-failure".into(), maximum_retry_count: 3 });
        assert_eq!(restart("").unwrap().name, "no");
        for (bad, words) in [
            ("sometimes", "invalid restart policy 'sometimes'"),
            ("always:3", "maximum retry count cannot be used with restart policy 'always'"),
            ("on-failure:x", "maximum retry count must be an integer"),
        ] {
            assert!(restart(bad).unwrap_err().to_string().contains(words), "{bad}");
        }
    }

    #[test]
    fn durations_are_go_s() {
        let table = [("1m30s", 90_000_000_000), ("500ms", 500_000_000), ("0", 0), ("1.5s", 1_500_000_000), ("0s", 0)];
        for (text, want) in table {
            assert_eq!(nanoseconds(text).unwrap(), want, "{text}");
        }
        for bad in ["", "5", "-1s", "1us", "x"] {
            assert!(nanoseconds(bad).is_err(), "{bad}");
        }
    }
}
