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

use anyhow::{Context, bail};
use bundle::{Containers, Found};
use clap::Parser;
use linux_sandbox::{Cgroups, Hierarchies, Limit, Scope, Unit, where_systemd_would};
use serde_json::Value;
use std::path::{Path, PathBuf};
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

/// What config.json wants, and where.
struct Wish {
    id: String,
    path: Option<String>,
    limits: Vec<Limit>,
}

impl Wish {
    fn of(found: &Found) -> anyhow::Result<Self> {
        let config = bundle::read_config(&found.dir)?;
        let path = config["linux"]["cgroupsPath"].as_str().filter(|path| !path.is_empty());
        let limits = limits(&config["linux"]["resources"]);
        Ok(Self { id: found.meta.id.clone(), path: path.map(Into::into), limits })
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

fn limits(resources: &Value) -> Vec<Limit> {
    let number = |group: &str, name: &str| resources[group][name].as_i64();
    let positive = |group: &str, name: &str| resources[group][name].as_u64();
    let text = |name: &str| resources["cpu"][name].as_str().map(str::to_owned);
    let mut limits = Vec::new();
    limits.extend(number("memory", "limit").map(Limit::Memory));
    limits.extend(number("memory", "swap").map(Limit::MemorySwap));
    limits.extend(number("memory", "reservation").map(Limit::MemoryReservation));
    limits.extend(positive("cpu", "shares").map(Limit::CpuShares));
    let (quota, period) = (number("cpu", "quota"), positive("cpu", "period"));
    if quota.is_some() || period.is_some() {
        limits.push(Limit::CpuQuota(quota.unwrap_or(-1), period));
    }
    limits.extend(text("cpus").map(Limit::CpusetCpus));
    limits.extend(text("mems").map(Limit::CpusetMems));
    limits.extend(number("pids", "limit").map(Limit::Pids));
    limits
}

/// Who is in which cgroup was decided at the start: for a limit of another kind the container gets one now, and its
/// processes go there when the limit stands in it.
fn limit(cgroups: &Cgroups, id: &str, first: i32) -> anyhow::Result<()> {
    let later = cgroups.make_missing()?;
    let noted = bundle::keeper::note_cgroups(&toolkit::run_dir(), id, &later.made).map_err(Into::into);
    noted.and_then(|()| write(cgroups)).inspect_err(|_| later.remove())?;
    Ok(later.move_in(first)?)
}

/// One limit may stand in the way of another that changes too, as memory of memory and swap: what is refused is
/// tried once more behind the rest.
fn write(cgroups: &Cgroups) -> anyhow::Result<()> {
    let all = || cgroups.groups.iter().flat_map(|group| group.writes.iter().map(move |write| (&group.path, write)));
    let put = |path: &Path, (file, content): &(String, String)| std::fs::write(path.join(file), content);
    let refused: Vec<_> = all().filter(|(path, limit)| put(path, limit).is_err()).collect();
    for (path, limit) in refused {
        let (file, content) = limit;
        // As at the start: memory is limited where swap is not counted.
        let uncounted = file.starts_with("memory.memsw.") || file.starts_with("memory.swap.");
        match put(path, limit) {
            Err(cause) if uncounted && cause.kind() == std::io::ErrorKind::NotFound => {}
            other => {
                other.with_context(|| format!("write({:?}, {content:?})", path.join(file).display().to_string()))?;
            }
        }
    }
    Ok(())
}
