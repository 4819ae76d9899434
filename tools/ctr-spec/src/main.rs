//! Turns run options into the `config.json` of a bundle: the one file in which everything that a container
//! may do is written down before anything runs (OCI runtime-spec config.md).
//!
//! Mechanism: no mechanism at all. A container is a list of wishes in JSON; each option edits a few members,
//! and whatever else is in the file stays. With a text editor, or in shell:
//!
//! ```sh
//! jq '.process.env += ["LANG=C"] | .linux.resources.memory.limit = 268435456' config.json > new
//! mv new config.json
//! ```
//!
//! One thing is done on disk: volumes are made, and an empty one is filled with what the image has at its place,
//! `cp -a rootfs/data/. volumes/data/_data`, for a container that finds it empty would have to be told why.
//!
//! Read capabilities(7), cgroups(7), namespaces(7), getrlimit(2).

#![forbid(unsafe_code)]

mod attributes;
mod command;
mod devices;
mod expose;
mod fill;
mod flag;
mod keeping;
mod limits;
mod mounts;
mod namespaces;
mod naming;
mod privileges;
mod resolv;
mod seccomp;
mod sysctls;
mod wish;

use anyhow::bail;
use clap::Parser;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use toolkit::Out;
use wire::Record;

/// Turn run options into the config.json of a bundle
#[derive(Debug, Parser)]
#[command(name = "ctr-spec", version, about, disable_help_flag = true, args_override_self = true)]
struct Args {
    /// The bundle's directory; without it, a bundle record is read from stdin
    bundle: Option<PathBuf>,

    #[command(flatten)]
    command: command::Options,

    #[command(flatten)]
    mounts: mounts::Options,

    #[command(flatten)]
    limits: limits::Options,

    #[command(flatten)]
    naming: naming::Options,

    #[command(flatten)]
    expose: expose::Options,

    #[command(flatten)]
    privileges: privileges::Options,

    #[command(flatten)]
    keeping: keeping::Options,

    #[command(flatten)]
    devices: devices::Options,

    #[command(flatten)]
    namespaces: namespaces::Options,

    /// Where images, volumes and containers are kept [default: /var/lib/dock]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    /// The command and its arguments, in place of the image's CMD
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let record = bundle_record(&args)?;
    let dir = record.path.as_path();
    // Files of the image are read, and copied into volumes, with their owners.
    subids::enter_that_of_record(&record.rest)?;
    let root = toolkit::root_dir(args.root.as_deref());
    let containers = bundle::Containers::new(&root, &toolkit::run_dir());
    let id = containers.id_of(dir);
    naming::check(&args.naming, id.is_some())?;
    keeping::check(&args.keeping, id.is_some())?;
    let image = bundle::read_image_config(dir)?;
    let before = match &id {
        Some(id) => containers.read(id)?.map(|found| found.meta),
        None => None,
    };
    let known = |name: &str| before.as_ref().and_then(|before| before.rest.get(name)).cloned().unwrap_or_default();
    let mut config = bundle::read_config(dir)?;
    let mut host: Map<String, Value> = known("hostConfig").as_object().cloned().unwrap_or_default();

    command::set_host_name(&mut config, &args.command, args.namespaces.on_network_of_host())?;
    command::set_arguments(&mut config, &image, &args.command, &args.arguments)?;
    command::set_environment(&mut config, &args.command)?;
    command::set_user(&mut config, &image, &record, &args.command)?;
    command::add_groups(&mut config, &mut host, &record, &args.command)?;
    command::set_terminal_and_directory(&mut config, &args.command)?;
    privileges::set(&mut config, &mut host, &args.privileges)?;
    devices::set(&mut config, &mut host, &args.devices)?;
    namespaces::set(&mut config, &mut host, &args.namespaces, &containers, args.command.hostname.is_some())?;
    limits::set(&mut config, &mut host, &args.limits, id.as_deref())?;
    naming::annotate(&mut config, &mut host, &args.naming)?;
    let volumes = bundle::Volumes::new(&root);
    let points = known("mounts").as_array().cloned().unwrap_or_default();
    let mut mounts = mounts::read(&args.mounts, &containers, &image, id.is_some())?;
    mounts.forget_those_of(&points);
    let mut own = match &before {
        // A second time only what was asked for: the files have what an earlier ctr-spec was told.
        Some(_) if !args.naming.changes_files() && args.command.hostname.is_none() => Vec::new(),
        _ => naming::files(dir, &mut config, &mut host, &args.naming, &containers, id.is_some())?,
    };
    if id.is_some() && config["process"]["args"].as_array().is_none_or(Vec::is_empty) {
        bail!("No command specified");
    }
    own.extend(command::set_init(&mut config, &mut host, &args.command)?);
    mounts.set(&mut config, &args.mounts, &volumes, own)?;
    let labels = naming::labels(&args.naming, &image, before.as_ref())?;

    let tty = config["process"]["terminal"] == true;
    let mut keeping = keeping::keeping(&args.keeping, &image, tty, before.as_ref().map(bundle::Meta::keeping))?;

    // Nobody removes a volume between its making and the moment when its container is known.
    let guard = if mounts.has_volumes() { Some(volumes.guard(false)?) } else { None };
    mounts.make_directories()?;
    fill::volumes(&mounts, &volumes, &record)?;
    bundle::save(dir, &record, &config)?;
    let exposed = expose::ports(&args.expose, &image, &known("config"))?;
    if let Some(id) = &id {
        args.mounts.note(&mut host);
        let mut note = command::note(&image, &args.command, &args.arguments, &known("config"))?;
        note.insert("exposedPorts".into(), exposed);
        note.insert("volumes".into(), args.mounts.unnamed(&image, &known("config")));
        if let Some(config) = &keeping.log_config {
            keeping.log_attributes = attributes::chosen(config, &labels, &note["env"])?;
        }
        let members = json!({ "hostConfig": host, "config": note, "mounts": mounts.points(&volumes, &points) });
        let mut members = members.as_object().cloned().unwrap_or_default();
        keeping.store(&mut members);
        naming::register(&containers, id, &record, &config, &args.naming, naming::Notes { members, labels })?;
    }
    drop(guard);
    out.record(&Record::Bundle(record))
}

fn bundle_record(args: &Args) -> anyhow::Result<wire::Bundle> {
    match &args.bundle {
        Some(dir) => Ok(bundle::load(dir)?),
        None => match toolkit::one_record("bundle")? {
            Record::Bundle(record) => Ok(record),
            other => bail!("<stdin>: {} record where a bundle record is wanted", other.kind()),
        },
    }
}
