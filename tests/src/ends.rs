//! What has to go also when a test fails: it goes with its value.

use crate::Room;
use std::process::Child;

/// Runs a script in the room.
#[derive(Debug)]
pub struct Script<'a>(pub &'a Room, pub String);

impl Drop for Script<'_> {
    fn drop(&mut self) {
        let _ = self.0.sh(&self.1);
    }
}

/// Kills a process of ours and takes its code.
#[derive(Debug)]
pub struct Kill(pub Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
