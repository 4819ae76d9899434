//! seccomp(2): which system calls the process may make from now on. A profile is compiled to a program
//! ([`compile`]) that the kernel runs before each of them.

mod bpf;
mod compile;
mod listener;
mod parse;
mod profile;
mod syscalls;

pub(crate) use bpf::Instruction;
pub use listener::Listener;
pub use profile::{Action, Arch, Compare, Condition, Flag, Profile, Rule};

use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene};
use crate::sys;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, no_new_privs, set_capabilities};
use serde::Serialize;

/// Installs the filter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// What becomes of calls that no rule is about.
    pub default: String,
    /// Calling conventions that have rules; any other ends the process.
    pub architectures: Vec<&'static str>,
    /// The length of the program.
    pub instructions: usize,
    #[serde(skip)]
    program: Vec<Instruction>,
    #[serde(skip)]
    flags: u32,
    /// Some calls are another process's to decide on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub listens: bool,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`
const NEW_LISTENER: u32 = 8;

impl Seccomp {
    /// Compiles the profile.
    pub fn new(profile: &Profile) -> std::result::Result<Self, Error> {
        if profile.default.notifies() {
            return Err(Error::refused("seccomp: SCMP_ACT_NOTIFY cannot be the default action"));
        }
        let mut notified = profile.rules.iter().filter(|rule| rule.action.notifies()).peekable();
        let listens = notified.peek().is_some();
        // The process says by write(2) that there is a listener: nobody could answer for that call yet.
        let write = syscalls::Numbers::of("write");
        if notified.any(|rule| rule.calls.iter().any(|call| Some(*call) == write)) {
            return Err(Error::refused("seccomp: SCMP_ACT_NOTIFY cannot be used for write"));
        }
        let program = compile::compile(profile)?;
        let architectures = compile::architectures(profile).iter().map(|arch| arch.word()).collect();
        let new_listener = if listens { NEW_LISTENER } else { 0 };
        Ok(Self {
            default: profile.default.word(),
            architectures,
            instructions: program.len(),
            program,
            // TSYNC says by its result what went wrong, the listener who it is: of one thread there is none to wait for.
            flags: profile
                .flags
                .iter()
                .filter(|flag| **flag != Flag::Tsync)
                .fold(new_listener, |bits, flag| bits | flag.bit()),
            listens,
        })
    }
}

impl Mechanism for Seccomp {
    fn shell(&self) -> String {
        format!(
            "exec setpriv --seccomp-filter filter.bpf sh  # {} instructions for {}; otherwise {}",
            self.instructions,
            self.architectures.join(", "),
            self.default
        )
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        take_the_right_to_filter();
        let result = sys::seccomp_filter(self.flags, &self.program).map_err(explain)?;
        scene.listener_number = self.listens.then_some(result);
        Ok(())
    }
}

/// Without `no_new_privs` a filter needs `CAP_SYS_ADMIN` (a set-user-ID program under a filter of anybody's could
/// be led astray). A user switch has left it permitted; the next step takes it away for good.
fn take_the_right_to_filter() {
    if no_new_privs().unwrap_or(false) {
        return;
    }
    if let Ok(mut sets) = capabilities(None) {
        sets.effective |= sets.permitted & CapabilitySet::SYS_ADMIN;
        let _ = set_capabilities(None, sets);
    }
}

fn explain(errno: Errno) -> Error {
    match errno {
        Errno::ACCESS => Error::refused("needs CAP_SYS_ADMIN or noNewPrivileges: true"),
        Errno::INVAL => Error::refused("this kernel does not know the filter's flags or actions"),
        errno => Err::<(), _>(errno)
            .call(|| "seccomp(SECCOMP_SET_MODE_FILTER)".into())
            .err()
            .unwrap_or_else(|| Error::refused("seccomp")),
    }
}
