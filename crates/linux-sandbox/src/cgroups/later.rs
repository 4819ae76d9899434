//! Limits of a kind that a container did not start with: its cgroups are made while it runs, and all its processes
//! move there. Memory that they have by then stays counted where it was; what they take from then on is limited.

use super::{Cgroups, freezer};
use crate::error::{Error, Result};
use rustix::fd::OwnedFd;
use std::path::PathBuf;

/// Cgroups that were made for a container that runs. Nobody sweeps them away while this value lives.
#[derive(Debug, Default)]
pub struct Later {
    /// Their directories.
    pub made: Vec<PathBuf>,
    locks: Vec<OwnedFd>,
}

impl Cgroups {
    /// Makes those that are not there, and switches on what they shall limit. What is made stays empty until
    /// [`Later::move_in`], so that limits can be written first.
    pub fn make_missing(&self) -> std::result::Result<Later, Error> {
        let mut later = Later::default();
        let done = self.groups.iter().try_for_each(|group| -> Result<()> {
            if group.path.is_dir() {
                return if group.enable.is_empty() { Ok(()) } else { group.switch_on() };
            }
            later.locks.push(group.make()?.0);
            later.made.push(group.path.clone());
            group.switch_on()
        });
        match done {
            Ok(()) => Ok(later),
            Err(error) => {
                later.remove();
                Err(error)
            }
        }
    }
}

impl Later {
    /// Moves every process of the container whose first one is `first` into them, and those that are born meanwhile.
    pub fn move_in(&self, first: i32) -> std::result::Result<(), Error> {
        for group in &self.made {
            while freezer::move_all(first, group)? {}
        }
        Ok(())
    }

    /// Takes back what was made, as long as nobody is in it.
    pub fn remove(&self) {
        for group in &self.made {
            let _ = std::fs::remove_dir(group);
        }
    }
}
