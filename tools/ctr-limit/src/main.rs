//! Gives containers that run the limits that their config.json has by now.
//!
//! Mechanism: a limit is a number in a file of a cgroup, and the kernel looks at it whenever it counts: it may change
//! while the processes run. By hand:
//!
//! ```sh
//! echo 268435456 >/sys/fs/cgroup/memory/dock/$id/memory.limit_in_bytes    # version 1: a tree for each controller
//! echo 268435456 >/sys/fs/cgroup/dock/$id/memory.max                      # version 2: one tree for all
//! ```
//!
//! A container that started without any limit of that kind gets its cgroup now, and its processes move there:
//!
//! ```sh
//! mkdir -p /sys/fs/cgroup/memory/dock/$id && for pid in $pids; do echo $pid >/sys/fs/cgroup/memory/dock/$id/cgroup.procs; done
//! ```
//!
//! ctr-spec changes what is written down, this what holds: `dock update` runs both. Read cgroups(7).

#![forbid(unsafe_code)]

use anyhow::bail;
use bundle::{Containers, Found};
use clap::Parser;
use linux_sandbox::{Cgroups, Hierarchies, Limits, Resources, Scope, Unit, where_systemd_would};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;

/// Give containers that run the limits of their config.json
#[derive(Debug, Parser)]
#[command(name = "ctr-limit", version, about)]
struct Args {
    /// Names, IDs or unique starts of IDs; without them, container records are read from stdin
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Where containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let containers = Containers::new(&toolkit::root_dir(args.root.as_deref()), &toolkit::run_dir());
    for operand in toolkit::containers(&args.containers)? {
        let found = containers.find(&operand)?;
        let Some(started) = &found.started else { bail!("container {} is not running", found.meta.id) };
        let wish = Wish::of(&found)?;
        match Unit::noted(&started.rest) {
            Some(unit) => wish.scope(unit.user)?.update()?,
            None => limit(&wish.cgroups()?, &found.meta.id, started.pid)?,
        }
        out.text(&format!("{operand}\n"))?;
    }
    Ok(())
}

/// What of config.json this is about.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    linux: Linux,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<String>,
    resources: Option<Resources>,
}

/// What config.json wants, and where.
struct Wish {
    id: String,
    path: Option<String>,
    limits: Limits,
}

impl Wish {
    fn of(found: &Found) -> anyhow::Result<Self> {
        let config: Config = bundle::read_config_as(&found.dir)?;
        let Linux { cgroups_path, resources } = config.linux;
        Ok(Self {
            id: found.meta.id.clone(),
            path: cgroups_path.filter(|path| !path.is_empty()),
            limits: resources.unwrap_or_default().limits(),
        })
    }

    /// The container's cgroups, and what shall stand in their files.
    fn cgroups(&self) -> anyhow::Result<Cgroups> {
        let name = self.path.clone().unwrap_or_else(|| format!("dock/{}", self.id));
        let below_own = !rustix::process::geteuid().is_root();
        Ok(Cgroups::new(&Hierarchies::of_this_host()?, &where_systemd_would(&name), &self.limits, below_own)?)
    }

    /// The scope that systemd made for it, of the system's manager or of the user's.
    fn scope(&self, user: bool) -> anyhow::Result<Scope> {
        let name = self.path.clone().unwrap_or_else(|| format!(":dock:{}", self.id));
        let uid = user.then(|| rustix::process::geteuid().as_raw());
        Ok(Scope::new(&Hierarchies::of_this_host()?, &name, &self.limits, uid)?)
    }
}

/// Who is in which cgroup was decided at the start: for a limit of another kind the container gets one now, and its
/// processes go there when the limit stands in it.
fn limit(cgroups: &Cgroups, id: &str, first: i32) -> anyhow::Result<()> {
    let later = cgroups.make_missing()?;
    let noted = bundle::keeper::note_cgroups(&toolkit::run_dir(), id, &later.made).map_err(Into::into);
    noted.and_then(|()| Ok(cgroups.rewrite()?)).inspect_err(|_: &anyhow::Error| later.remove())?;
    Ok(later.move_in(first)?)
}
