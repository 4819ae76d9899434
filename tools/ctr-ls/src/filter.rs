//! `--filter NAME=VALUE`, with docker's meaning: several of one name are alternatives, except for labels;
//! different names all have to hold. What is wrong with one is said in docker's words.

use crate::{mounted, status};
use bundle::{Containers, Found};
use jiff::{Timestamp, Zoned};
use regex_lite::Regex;
use toolkit::{WithHint, usage};

/// One filter, ready to be asked.
#[derive(Debug)]
pub struct Filter {
    name: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Ancestor(String),
    Before(Option<Timestamp>),
    Exited(i32),
    Health(String),
    /// What the start of an ID may be, or a pattern somewhere in it.
    Id(String, Option<Regex>),
    /// It is there, or with `label!` it is not.
    Label(String, Option<String>, bool),
    /// A pattern somewhere in the name, with or without its slash; none when it is no pattern.
    Name(Option<Regex>),
    Network(String),
    Since(Option<Timestamp>),
    Status(String),
    Volume(String),
    /// All of them (docker on Linux), or none: tasks are Swarm's, and ports are not published here.
    Always(bool),
}

const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "exited", "removing", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

impl Filter {
    /// Parses one; `before` and `since` look their container up.
    pub fn parse(text: &str, containers: &Containers) -> anyhow::Result<Self> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(usage(format!("invalid argument {text:?}: bad format of filter (expected name=value)")));
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let created = || anyhow::Ok(containers.find(value)?.meta.created.parse().ok());
        let test = match name.as_str() {
            "ancestor" => Test::Ancestor(value.into()),
            "before" => Test::Before(created()?),
            "exited" => Test::Exited(
                value.parse().map_err(|_| usage(format!("strconv.Atoi: parsing {value:?}: invalid syntax")))?,
            ),
            "expose" | "publish" => {
                check_ports(&name, value)?;
                Test::Always(false)
            }
            "health" if HEALTHS.contains(&value) => Test::Health(value.into()),
            "health" => return Err(usage(format!("Unrecognised filter value for health: {value}"))),
            "id" => Test::Id(value.into(), Regex::new(value).ok()),
            "is-task" => match value {
                "1" | "true" | "True" | "TRUE" => Test::Always(false),
                "0" | "false" | "False" | "FALSE" => Test::Always(true),
                _ => return Err(usage(format!("Invalid filter 'is-task=[{value}]'"))),
            },
            "isolation" => Test::Always(true),
            "label" | "label!" => match value.split_once('=') {
                Some((label, value)) => Test::Label(label.into(), Some(value.into()), name == "label"),
                None => Test::Label(value.into(), None, name == "label"),
            },
            "name" => Test::Name(Regex::new(value).ok()),
            "network" => Test::Network(value.into()),
            "since" => Test::Since(created()?),
            "status" if STATUSES.contains(&value) => Test::Status(value.into()),
            "status" => return Err(usage(format!("Invalid filter 'status={value}'"))),
            "until" => {
                Test::Before(Some(moment::parse(value, &Zoned::now()).map_err(|error| usage(error.to_string()))?))
            }
            "volume" => Test::Volume(value.into()),
            _ => {
                return Err::<Self, _>(usage(format!("Invalid filter '{name}'"))).hint(|| {
                    "filters are ancestor, before, exited, expose, health, id, is-task, isolation, label, name, network, \
                     publish, since, status, until, volume"
                        .into()
                });
            }
        };
        Ok(Self { name, test })
    }

    /// Whether it is about containers that may not run.
    pub fn asks_for_status(&self) -> bool {
        matches!(self.test, Test::Status(_))
    }

    fn holds(&self, found: &Found) -> bool {
        let created = || found.meta.created.parse::<Timestamp>().ok();
        match &self.test {
            Test::Ancestor(image) => ancestor(found, image),
            Test::Before(limit) => created().is_some_and(|at| limit.is_some_and(|limit| at < limit)),
            Test::Exited(code) => {
                found.status != wire::Status::Created && found.exit.as_ref().is_some_and(|exit| exit.exit_code == *code)
            }
            Test::Health(word) => status::health(found).map_or("none".into(), |health| health.status) == *word,
            Test::Id(start, pattern) => {
                found.meta.id.starts_with(start) || pattern.as_ref().is_some_and(|id| id.is_match(&found.meta.id))
            }
            Test::Label(name, wanted, holds) => {
                let label = found.meta.labels.get(name);
                let is = label.is_some_and(|label| wanted.as_ref().is_none_or(|wanted| label == wanted.as_str()));
                is == *holds
            }
            Test::Name(pattern) => pattern.as_ref().is_some_and(|pattern| {
                pattern.is_match(&found.meta.name) || pattern.is_match(&format!("/{}", found.meta.name))
            }),
            Test::Network(name) => mounted::network(&found.dir).is_ok_and(|network| network == name),
            Test::Since(limit) => created().is_some_and(|at| limit.is_some_and(|limit| at > limit)),
            Test::Status(word) => status::word(found.status) == word,
            Test::Volume(wanted) => mounted::mounts(&found.dir).is_ok_and(|mounts| {
                mounts
                    .iter()
                    .any(|mount| mount.name.as_ref().unwrap_or(&mount.source) == wanted || mount.destination == *wanted)
            }),
            Test::Always(answer) => *answer,
        }
    }
}

/// A port or a range of them, with or without its protocol: docker's words for what is none.
fn check_ports(name: &str, value: &str) -> anyhow::Result<()> {
    let range = value.split_once('/').map_or(value, |(range, _)| range);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match [first, last].into_iter().find(|port| port.parse::<u16>().is_err()) {
        None => Ok(()),
        Some(port) => {
            let why = format!("strconv.ParseUint: parsing {port:?}: invalid syntax");
            Err(usage(format!("error while looking up for {name} {value}: {why}")))
        }
    }
}

/// The image by name, with or without `:latest`, or by ID.
fn ancestor(found: &Found, value: &str) -> bool {
    let same_name = |image: &String| match (image.parse::<wire::Reference>(), value.parse::<wire::Reference>()) {
        (Ok(image), Ok(value)) => image == value,
        _ => image == value,
    };
    let same_id = |id: &String| {
        let bare = id.split_once(':').map_or(id.as_str(), |(_, hex)| hex);
        value.len() >= 4 && (id.starts_with(value) || bare.starts_with(value))
    };
    found.meta.image.as_ref().is_some_and(same_name) || found.meta.image_id.as_ref().is_some_and(same_id)
}

/// Whether the container is listed.
pub fn all_hold(filters: &[Filter], found: &Found) -> bool {
    filters.iter().all(|filter| {
        let mut same = filters.iter().filter(|other| other.name == filter.name);
        filter.holds(found) || !filter.name.starts_with("label") && same.any(|other| other.holds(found))
    })
}
