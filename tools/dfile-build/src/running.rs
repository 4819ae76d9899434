//! What the command line gives to every RUN: secrets, agents, the network, rights.

use anyhow::{Context, bail};
use clap::Args;
use dockerfile::{Network, Security};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use toolkit::usage;

/// BuildKit's limit.
const LARGEST_SECRET: u64 = 500 * 1024;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// A secret for RUN --mount=type=secret, from a file or a variable
    #[arg(long, value_name = "id=NAME[,src=FILE|env=VARIABLE]")]
    secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh [default socket: $`SSH_AUTH_SOCK`]
    #[arg(long, value_name = "default|NAME[=SOCKET]")]
    ssh: Vec<String>,
    /// The network of RUN: none (only a loopback interface) or host
    #[arg(long, value_name = "NETWORK", default_value = "default")]
    network: String,
    /// Allow what a Dockerfile cannot take by itself: network.host, security.insecure
    #[arg(long, value_name = "RIGHT")]
    allow: Vec<String>,
    /// Add a line to /etc/hosts of RUN
    #[arg(long, value_name = "HOST:ADDRESS")]
    add_host: Vec<String>,
    /// Limit a resource of each process of RUN
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// The size of /dev/shm of RUN
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
}

/// The options, read.
#[derive(Debug)]
pub struct Running {
    secrets: Vec<(String, From)>,
    agents: Vec<(String, Option<PathBuf>)>,
    on_host: bool,
    allow: Vec<String>,
    passed_on: Vec<String>,
}

#[derive(Debug)]
enum From {
    File(PathBuf),
    Variable(String),
}

impl Running {
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let secrets = options.secret.iter().map(|text| secret(text)).collect::<anyhow::Result<_>>()?;
        let agent = |text: &String| match text.split_once('=') {
            Some((id, path)) => (id.to_owned(), Some(PathBuf::from(path))),
            None => (text.clone(), None),
        };
        for right in &options.allow {
            if !matches!(right.as_str(), "network.host" | "security.insecure") {
                return Err(usage(format!("invalid entitlement: {right}")));
            }
        }
        let on_host = match options.network.as_str() {
            "host" => true,
            "" | "default" | "none" => false,
            other => return Err(usage(format!("--network {other}: want none or host"))),
        };
        let mut passed_on = Vec::new();
        let shm = options.shm_size.iter().map(|size| ("--shm-size", size));
        let hosts = options.add_host.iter().map(|host| ("--add-host", host));
        for (name, value) in shm.chain(hosts).chain(options.ulimit.iter().map(|limit| ("--ulimit", limit))) {
            passed_on.extend([name.to_owned(), value.clone()]);
        }
        let agents = options.ssh.iter().map(agent).collect();
        Ok(Self { secrets, agents, on_host, allow: options.allow.clone(), passed_on })
    }

    /// The bytes of a secret; `None` when nobody gave it.
    pub fn secret(&self, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some((_, from)) = self.secrets.iter().find(|(own, _)| own == id) else { return Ok(None) };
        let bytes = match from {
            From::Variable(name) => std::env::var_os(name)
                .with_context(|| format!("--secret id={id}: the variable {name} is not set"))?
                .into_encoded_bytes(),
            From::File(path) => read(path).with_context(|| format!("--secret id={id}: {}", path.display()))?,
        };
        if bytes.len() as u64 > LARGEST_SECRET {
            bail!("invalid secret size {} (max {LARGEST_SECRET})", bytes.len());
        }
        Ok(Some(bytes))
    }

    /// The socket of an agent; `None` when nobody gave it.
    pub fn agent(&self, id: &str) -> anyhow::Result<Option<PathBuf>> {
        let Some((_, path)) = self.agents.iter().find(|(own, _)| own == id) else { return Ok(None) };
        let usual = || std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        let path = path.clone().or_else(usual).with_context(|| {
            format!("--ssh {id}: SSH_AUTH_SOCK is not set: start an agent, or name a socket: {id}=SOCKET")
        })?;
        let kind = std::fs::metadata(&path).with_context(|| format!("--ssh {id}: {}", path.display()))?.file_type();
        if !kind.is_socket() {
            bail!("--ssh {id}: {}: is no socket: give keys to an agent with ssh-add(1)", path.display());
        }
        Ok(Some(path))
    }

    /// Adds network, rights and limits to a ctr-spec. Rights come from the command line only, never from a
    /// Dockerfile (CVE-2024-23653).
    pub fn specify(&self, command: &mut Command, network: Network, security: Security) -> anyhow::Result<()> {
        let allowed = |right: &str| self.allow.iter().any(|own| own == right);
        if network == Network::Host && !self.on_host && !allowed("network.host") {
            bail!("network.host is not allowed: add --allow network.host");
        }
        if security == Security::Insecure {
            if !allowed("security.insecure") {
                bail!("security.insecure is not allowed: add --allow security.insecure");
            }
            command.arg("--privileged");
        }
        if network == Network::Host || network == Network::Default && self.on_host {
            command.args(["--network", "host"]);
            for file in ["/etc/resolv.conf", "/etc/hosts"] {
                if Path::new(file).exists()
                    && !(file == "/etc/hosts" && self.passed_on.iter().any(|w| w == "--add-host"))
                {
                    command.arg("--mount").arg(format!("type=bind,src={file},dst={file},readonly"));
                }
            }
        }
        command.args(&self.passed_on);
        Ok(())
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_SECRET + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `id=NAME[,src=FILE|env=VARIABLE]`; alone, a variable of that name, else a file.
fn secret(text: &str) -> anyhow::Result<(String, From)> {
    let (mut id, mut source, mut variable, mut of_env) = (None, None, None, false);
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(usage(format!("--secret {text}: invalid field '{field}' must be a key=value pair")));
        };
        match key.to_ascii_lowercase().as_str() {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => source = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => of_env = value == "env",
            "type" => return Err(usage(format!("--secret {text}: unsupported secret type \"{value}\""))),
            _ => return Err(usage(format!("--secret {text}: unexpected key '{key}' in '{field}'"))),
        }
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Err(usage(format!("--secret {text}: secret requires id")));
    };
    let from = match (variable, source) {
        (Some(variable), _) => From::Variable(variable),
        (None, Some(source)) if of_env => From::Variable(source),
        (None, Some(source)) => From::File(source.into()),
        (None, None) if of_env || std::env::var_os(&id).is_some() => From::Variable(id.clone()),
        (None, None) => From::File(id.clone().into()),
    };
    Ok((id, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_dockers_grammar() {
        for (text, want) in [
            ("id=a,src=/f", "a file /f"),
            ("id=a,source=f", "a file f"),
            ("type=file,id=a", "a file a"),
            ("id=PATH", "PATH variable PATH"),
            ("id=a,env=B", "a variable B"),
            ("id=a,type=env,src=B", "a variable B"),
        ] {
            let found = match secret(text).unwrap() {
                (id, From::File(path)) => format!("{id} file {}", path.display()),
                (id, From::Variable(name)) => format!("{id} variable {name}"),
            };
            assert_eq!(found, want, "{text}");
        }
        for text in ["", "src=/f", "id=", "id=a,x=y", "id=a,type=vault", "a"] {
            assert!(secret(text).is_err(), "{text}");
        }
    }
}
