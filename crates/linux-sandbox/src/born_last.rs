//! `CLONE_PARENT`: the process is seen in the container only when it has nothing left to give.
//!
//! Who may trace (`CAP_SYS_PTRACE` in the user namespace of the process) takes over a process as soon as he sees it, with
//! all that it has: until its last steps, every right of the host. `PR_SET_DUMPABLE` does not hold him off. But he sees
//! only who was born in his PID namespace, and a process that enters one with setns(2) stays where it is: only its
//! children are born there. So the process that takes all the steps stays outside, and leaves the exec to a child with
//! the same parent, which is born with the rights, the filter and the descriptors of the command.

use crate::error::{Call, Error, Result};
use crate::steps::{Scene, Step};
use crate::sys;
use rustix::io::write;
use rustix::process::{Signal, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid};

/// Whether the command of this list is executed so.
pub(crate) fn is_wanted(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Exec(exec) if exec.born_last))
}

/// Returns in the child alone. Descriptors from `first` on are closed, but for the one that takes an error to the
/// parent; the caller's environment is not in its memory.
pub(crate) fn go_on_as_child(scene: &Scene, first: u32) -> Result<()> {
    let Some(report) = &scene.report else { return Err(Error::refused("the exec is not the parent's to wait for")) };
    sys::close_all_but(first, report).call(|| format!("close_range({first}, ~0)"))?;
    sys::forget_environment();
    if let Some(pid) = sys::clone_beside(0).call(|| "clone(CLONE_PARENT)".into())? {
        let mut word = [0; 5];
        word[1..].copy_from_slice(&pid.to_ne_bytes());
        sys::exit_now(u8::from(write(report, &word).is_err()));
    }
    if !scene.outlives {
        set_parent_process_death_signal(Some(Signal::KILL)).call(|| "prctl(PR_SET_PDEATHSIG)".into())?;
        // Its parent is in another PID namespace, and has no number here; whoever takes an orphan has one.
        if getppid().is_some() {
            return Err(Error::refused(format!("{} is gone", scene.program)));
        }
    }
    setsid().call(|| "setsid()".into())?;
    if scene.has_terminal {
        ioctl_tiocsctty(rustix::stdio::stdin()).call(|| "ioctl(<terminal>, TIOCSCTTY)".into())?;
    }
    Ok(())
}

/// What the parent has read: the child's number behind a zero byte, and the error, if there is one. They come in any
/// order.
pub(crate) fn take_pid(text: &mut Vec<u8>) -> Option<i32> {
    let at = text.iter().position(|byte| *byte == 0)?;
    let word: Vec<u8> = text.drain(at..text.len().min(at + 5)).collect();
    word.get(1..)?.try_into().ok().map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_error_in_any_order() {
        let word = [&[0], &4711_i32.to_ne_bytes()[..]].concat();
        for (text, rest, pid) in [
            (word.clone(), "", Some(4711)),
            ([&word, &b"\x7fno"[..]].concat(), "\x7fno", Some(4711)),
            ([b"\x7fno", &word[..]].concat(), "\x7fno", Some(4711)),
            (b"\x7fno".to_vec(), "\x7fno", None),
            (word[..3].to_vec(), "", None),
        ] {
            let mut left = text;
            assert_eq!((take_pid(&mut left), &left[..]), (pid, rest.as_bytes()));
        }
    }
}
