//! `hooks` become steps (OCI runtime-spec config.md, "POSIX-platform Hooks").

use crate::config::Config;
use anyhow::bail;
use linux_sandbox::{Hook, Hooks, Moment, State, Step};
use std::path::Path;
use std::time::Duration;

const MOMENTS: [Moment; 6] = [
    Moment::Prestart,
    Moment::CreateRuntime,
    Moment::CreateContainer,
    Moment::StartContainer,
    Moment::Poststart,
    Moment::Poststop,
];

/// The step of one moment; none when nobody wants to hear of it.
pub fn of(moment: Moment, config: &Config, state: &State, directory: &Path) -> anyhow::Result<Option<Step>> {
    if let Some(unknown) = config.hooks.keys().find(|name| MOMENTS.iter().all(|moment| moment.name() != **name)) {
        bail!("config.json: hooks: {unknown}: no such hooks");
    }
    let Some(Some(wanted)) =
        config.hooks.get(moment.name()).filter(|list| list.as_ref().is_some_and(|l| !l.is_empty()))
    else {
        return Ok(None);
    };
    let mut hooks = Vec::new();
    for hook in wanted {
        if !hook.path.is_absolute() {
            bail!("config.json: hooks: {}: {}: not an absolute path", moment.name(), hook.path.display());
        }
        let timeout = match hook.timeout {
            None => None,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) if seconds > 0 => Some(Duration::from_secs(seconds)),
                _ => bail!("config.json: hooks: {}: timeout {seconds}: not above 0", moment.name()),
            },
        };
        hooks.push(Hook { path: hook.path.clone(), args: hook.args.clone(), env: hook.env.clone(), timeout });
    }
    let (directory, state) = (directory.into(), state.clone());
    Ok(Some(Step::Hooks(Hooks { moment, hooks, directory, state, program: "ctr-spawn".into() })))
}
