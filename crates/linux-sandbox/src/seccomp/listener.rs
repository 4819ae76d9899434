//! `seccomp_unotify(2)`: calls that another process decides on. The filter's listener goes to whoever waits for it
//! at a socket (OCI runtime-spec config-linux.md, "The Container Process State").

use crate::error::{Call, Error, Result};
use crate::hooks::State;
use crate::steps::{Mechanism, Scene, quote};
use crate::terminal;
use serde::Serialize;
use std::path::PathBuf;

/// Sends the listener, and whose it is, before the command is executed.
#[derive(Debug, Serialize)]
pub struct Listener {
    /// The socket on the host.
    pub path: PathBuf,
    /// Passed on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Of the container, but for status and PID.
    pub state: State,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: State,
}

impl Mechanism for Listener {
    fn shell(&self) -> String {
        format!(": the listener of the filter goes to {}", quote(&self.path.to_string_lossy()))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let Some(listener) = scene.listener.take() else {
            return Err(Error::refused("the filter has no listener"));
        };
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        let state = State { status: "creating".into(), pid: Some(pid), ..self.state.clone() };
        let message = ProcessState {
            oci_version: &self.state.oci_version,
            fds: ["seccompFd"],
            pid,
            metadata: self.metadata.as_deref(),
            state,
        };
        let message = serde_json::to_vec(&message).map_err(|cause| Error::refused(format!("state: {cause}")))?;
        let socket = terminal::connect_to(&self.path)?;
        terminal::send(&socket, &message, &listener).call(|| format!("sendmsg({:?}, <listener>)", self.path))
    }
}
