//! `time_namespaces(7)`: clocks of its own. They are set before the first process is in the namespace, so it is made
//! by the parent, who leaves it to the child.

use crate::error::{Call, Result};
use crate::namespaces::come_back_to;
use crate::steps::{Mechanism, Scene, all};
use crate::sys;
use rustix::thread::LinkNameSpaceType;
use serde::Serialize;

/// A new time namespace for the next child.
#[derive(Debug, Serialize)]
pub struct TimeNamespace {
    /// `monotonic` or `boottime`, seconds and nanoseconds to add.
    pub offsets: Vec<(String, i64, u32)>,
}

impl Mechanism for TimeNamespace {
    fn shell(&self) -> String {
        let offsets = self.offsets.iter().map(|(clock, seconds, _)| format!(" --{clock} {seconds}"));
        all([format!("exec unshare --time{} sh", offsets.collect::<String>())])
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        come_back_to(scene, "time", LinkNameSpaceType::Time)?;
        sys::unshare_time().call(|| "unshare(CLONE_NEWTIME)".into())?;
        for (clock, seconds, nanos) in &self.offsets {
            let text = format!("{clock} {seconds} {nanos}");
            std::fs::write("/proc/self/timens_offsets", &text)
                .call(|| format!("write(\"/proc/self/timens_offsets\", {text:?})"))?;
        }
        Ok(())
    }
}
