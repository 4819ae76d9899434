//! `setrlimit(2)`.

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene};
use crate::sys;
use rustix::io::Errno;
use serde::Serialize;

/// Resource limits. Without `CAP_SYS_RESOURCE` a hard limit cannot be raised: then it stays, and a note says so.
#[derive(Debug, Serialize)]
pub struct Rlimits {
    /// Name as `RLIMIT_NOFILE`, soft, hard.
    pub limits: Vec<(String, u64, u64)>,
}

const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).and_then(|position| u32::try_from(position).ok())
}

impl Rlimits {
    /// Refuses a name that Linux does not have or that comes twice, and a soft limit above the hard one.
    pub fn new(limits: Vec<(String, u64, u64)>) -> std::result::Result<Self, Error> {
        for (at, (name, soft, hard)) in limits.iter().enumerate() {
            if limits[..at].iter().any(|(other, ..)| other == name) {
                return Err(Error::refused(format!("rlimits: {name}: twice")));
            }
            if number(name).is_none() {
                return Err(Error::refused(format!("rlimits: {name}: no such limit")));
            }
            if soft > hard {
                return Err(Error::refused(format!(
                    "rlimits: {name}: the soft limit {soft} is above the hard limit {hard}"
                )));
            }
        }
        Ok(Self { limits })
    }
}

impl Mechanism for Rlimits {
    fn shell(&self) -> String {
        let options = self.limits.iter().map(|(name, soft, hard)| {
            let show = |value: &u64| if *value == u64::MAX { "unlimited".into() } else { value.to_string() };
            format!(" --{}={}:{}", name.trim_start_matches("RLIMIT_").to_lowercase(), show(soft), show(hard))
        });
        format!("prlimit --pid $$ {}", options.collect::<String>().trim_start())
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        for (name, soft, hard) in &self.limits {
            let Some(number) = number(name) else { continue };
            match sys::setrlimit(number, *soft, *hard) {
                Err(Errno::PERM) => {
                    let call = || format!("setrlimit({name}, {soft}, {hard})");
                    let (_, allowed) = sys::getrlimit(number).call(call)?;
                    sys::setrlimit(number, (*soft).min(allowed), allowed).call(call)?;
                    scene.note(&format!(
                        "{name}: {hard} is above the {allowed} that this process may have: {allowed} it is"
                    ));
                }
                other => other.call(|| format!("setrlimit({name}, {soft}, {hard})"))?,
            }
        }
        Ok(())
    }
}
