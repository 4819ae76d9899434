//! spec: a config.json to start from.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// For a user who is not root: with a user namespace
    #[arg(long)]
    rootless: bool,
}

pub fn verb(options: &Options) -> anyhow::Result<()> {
    let dir = &options.bundle;
    if dir.join("config.json").exists() {
        bail!("File config.json exists. Remove it first");
    }
    let user = bundle::users::resolve("", None, None)?;
    let image = json!({ "config": { "Cmd": ["sh"], "Env": ["TERM=xterm"] } });
    let mut config = bundle::config::from_image(&image, &user, "ctr-oci")?;
    config["process"]["terminal"] = true.into();
    if options.rootless {
        let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        config["linux"]["uidMappings"] = map(rustix::process::geteuid().as_raw());
        config["linux"]["gidMappings"] = map(rustix::process::getegid().as_raw());
        if let Value::Array(namespaces) = &mut config["linux"]["namespaces"] {
            namespaces.push(json!({ "type": "user" }));
        }
    }
    bundle::write_config(dir, &config).with_context(|| dir.display().to_string())
}
