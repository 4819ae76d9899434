//! What runs: the `process` of the container's `config.json` with the options on top, or a file of that form.

use crate::Args;
use crate::target::Container;
use anyhow::{Context, bail};
use bundle::config::{has_env, set_env};
use bundle::process::{Capabilities, Process, User};
use bundle::{env, users};
use std::path::Path;

/// As much of passwd and group as is read.
const LARGEST: u64 = 16 << 20;

/// The process that the command line asks for.
pub fn wanted(args: &Args, container: &Container) -> anyhow::Result<Process> {
    let first = || container.config.process.clone().context("config.json: process: is not there");
    let mut process = match &args.process {
        Some(file) => read(file)?,
        None => Process { args: Vec::new(), terminal: false, console_size: None, ..first()? },
    };
    // A process file need not say what the container's own process may do, who watches it and how it is scheduled: then
    // the same.
    if args.process.is_some() {
        let first = first()?;
        process.capabilities = process.capabilities.or(first.capabilities);
        process.scheduler = process.scheduler.or(first.scheduler);
        process.io_priority = process.io_priority.or(first.io_priority);
        process.exec_cpu_affinity = process.exec_cpu_affinity.or(first.exec_cpu_affinity);
        process.apparmor_profile = process.apparmor_profile.or(first.apparmor_profile);
        process.selinux_label = process.selinux_label.or(first.selinux_label);
    }
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    process.apparmor_profile = named(&args.apparmor).or(process.apparmor_profile);
    process.selinux_label = named(&args.process_label).or(process.selinux_label);
    if !args.command.is_empty() {
        process.args.clone_from(&args.command);
    }
    // A terminal that nobody holds the other end of would hang up at once.
    process.terminal |= args.tty && (!args.detach || args.console_socket.is_some());
    if let Some(dir) = args.workdir.as_deref().filter(|dir| !dir.is_empty()) {
        if !dir.starts_with('/') {
            bail!("the working directory '{dir}' is invalid, it needs to be an absolute path");
        }
        process.cwd = dir.into();
    }
    set_user(&mut process, args, container)?;
    set_environment(&mut process, args)?;
    if !has_env(&process.env, "HOME") {
        // A passwd that cannot be read knows no home.
        let passwd = container.first.read_file(Path::new("/etc/passwd"), LARGEST).ok().flatten();
        set_env(&mut process.env, &format!("HOME={}", users::home(process.user.uid, passwd.as_deref())));
    }
    process.user.additional_gids.extend(&args.group_add);
    process.no_new_privileges |= args.no_new_privileges;
    for name in &args.cap_add {
        let name = bundle::parse_capability(name)?.to_owned();
        let sets = process.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.push(name.clone());
        }
    }
    if args.privileged {
        let all: Vec<String> = bundle::all_capabilities().into_iter().map(Into::into).collect();
        let all =
            Capabilities { bounding: all.clone(), effective: all.clone(), permitted: all, ..Capabilities::default() };
        process.capabilities = Some(all);
    }
    Ok(process)
}

fn read(file: &Path) -> anyhow::Result<Process> {
    let name = || file.display().to_string();
    serde_json::from_str(&std::fs::read_to_string(file).with_context(name)?).with_context(name)
}

/// Looks the user up in the passwd and group that the container has now. A HOME that was the first user's becomes
/// the new one's; one that somebody set stays.
fn set_user(process: &mut Process, args: &Args, container: &Container) -> anyhow::Result<()> {
    let Some(wish) = args.user.as_deref().filter(|wish| !wish.is_empty()) else { return Ok(()) };
    let file = |path: &str| container.first.read_file(Path::new(path), LARGEST);
    let (passwd, group) = (file("/etc/passwd")?, file("/etc/group")?);
    let look_up = |wish: &str| users::resolve(wish, passwd.as_deref(), group.as_deref());
    let user = look_up(wish)?;
    let before = look_up(&process.user.uid.to_string()).ok().and_then(|user| user.home);
    let home = |home: Option<&str>| format!("HOME={}", home.unwrap_or("/"));
    if !has_env(&process.env, "HOME") || process.env.contains(&home(before.as_deref())) {
        set_env(&mut process.env, &home(user.home.as_deref()));
    }
    let umask = process.user.umask;
    process.user = User { uid: user.uid, gid: user.gid, additional_gids: user.additional_gids, umask };
    Ok(())
}

/// Files first, then options, each in the order given; the last one wins.
fn set_environment(process: &mut Process, args: &Args) -> anyhow::Result<()> {
    let outer = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    for path in &args.env_file {
        for assignment in env::read_file(path, outer).map_err(|why| toolkit::usage(why.to_string()))? {
            env::assign(&mut process.env, &assignment, outer)?;
        }
    }
    for assignment in &args.env {
        env::assign(&mut process.env, assignment, outer)?;
    }
    if process.terminal && !has_env(&process.env, "TERM") {
        process.env.push("TERM=xterm".into());
    }
    Ok(())
}
