//! A profile as it is written in JSON: names and numbers that have yet to be looked at. The format is that of the
//! `linux.seccomp` member of a runtime configuration, and of profiles that other programs bring.

use super::profile::{Action, Arch, Compare, Condition, Flag, Profile, Rule};
use super::syscalls::Numbers;
use crate::error::Error;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use std::fmt;

type Result<T> = std::result::Result<T, Error>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Vec<Syscall>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscall {
    names: Calls,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Arg>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// The calls behind a list of names. Each is looked up as it is read: docker's profile has four hundred, and a container
/// that starts has no time for as many strings.
struct Calls(Vec<Numbers>);

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_seq(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Calls;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> std::result::Result<Calls, A::Error> {
        let mut calls = Vec::new();
        while let Some(call) = names.next_element_seed(Name)? {
            calls.extend(call);
        }
        Ok(Calls(calls))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<Numbers>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<Option<Numbers>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<Numbers>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the name of a system call")
    }

    fn visit_str<E>(self, name: &str) -> std::result::Result<Option<Numbers>, E> {
        Ok(Numbers::of(name))
    }
}

impl TryFrom<Written> for Profile {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        Ok(Self {
            default: Action::parse(&written.default_action, written.default_errno_ret)?,
            architectures: written.architectures.iter().map(|name| Arch::parse(name)).collect::<Result<_>>()?,
            flags: written.flags.iter().map(|name| Flag::parse(name)).collect::<Result<_>>()?,
            listener_path: written.listener_path.filter(|path| !path.as_os_str().is_empty()),
            listener_metadata: written.listener_metadata.filter(|text| !text.is_empty()),
            rules: written.syscalls.into_iter().map(rule).collect::<Result<_>>()?,
        })
    }
}

fn rule(written: Syscall) -> Result<Rule> {
    Ok(Rule {
        action: Action::parse(&written.action, written.errno_ret)?,
        conditions: written.args.iter().map(condition).collect::<Result<_>>()?,
        calls: written.names.0,
    })
}

fn condition(written: &Arg) -> Result<Condition> {
    if written.index > 5 {
        let index = written.index;
        return Err(Error::refused(format!("seccomp: argument {index}: a system call has six, from 0 on")));
    }
    let compare = Compare::parse(&written.op)?;
    Ok(Condition { index: written.index, compare, value: written.value, second: written.value_two })
}
