//! Variables put into the words of an instruction, where the builder does that and not the shell of the command.

use super::{Copy, Instruction};
use crate::words::{self, Lookup};

impl Instruction {
    /// Puts variables in, where the builder does that: not in RUN, CMD, ENTRYPOINT, whose shell does it.
    pub fn expanded(&self, escape: char, lookup: Lookup<'_>) -> anyhow::Result<Self> {
        let word = |w: &String| words::expand(w, escape, lookup);
        let maybe = |w: &Option<String>| w.as_ref().map(word).transpose();
        let all = |list: &[String]| list.iter().map(word).collect::<anyhow::Result<Vec<_>>>();
        let both = |list: &[(String, String)]| -> anyhow::Result<Vec<_>> {
            list.iter().map(|(name, value)| Ok((word(name)?, word(value)?))).collect()
        };
        Ok(match self {
            Self::From { image, platform, name } => {
                Self::From { image: word(image)?, platform: maybe(platform)?, name: name.clone() }
            }
            Self::Arg(list) => {
                Self::Arg(list.iter().map(|(n, v)| Ok((word(n)?, maybe(v)?))).collect::<anyhow::Result<_>>()?)
            }
            Self::Env(list) => Self::Env(both(list)?),
            Self::Label(list) => Self::Label(both(list)?),
            Self::Expose(list) => {
                Self::Expose(all(list)?.iter().flat_map(|w| w.split_whitespace()).map(Into::into).collect())
            }
            Self::Volume(list) => Self::Volume(all(list)?),
            Self::Workdir(text) => Self::Workdir(word(text)?),
            Self::User(text) => Self::User(word(text)?),
            Self::StopSignal(text) => Self::StopSignal(word(text)?),
            Self::Copy(copy) => {
                let inline = copy.inline.iter().map(|document| {
                    let mut document = document.clone();
                    if document.expand {
                        document.content = words::expand_text(&document.content, escape, lookup)?;
                    }
                    Ok(document)
                });
                Self::Copy(Copy {
                    chown: maybe(&copy.chown)?,
                    chmod: maybe(&copy.chmod)?,
                    exclude: all(&copy.exclude)?,
                    checksum: maybe(&copy.checksum)?,
                    sources: all(&copy.sources)?,
                    destination: word(&copy.destination)?,
                    inline: inline.collect::<anyhow::Result<_>>()?,
                    ..copy.clone()
                })
            }
            other => other.clone(),
        })
    }
}
