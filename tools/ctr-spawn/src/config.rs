//! The part of `config.json` that this program obeys (OCI runtime-spec config.md, config-linux.md).

use bundle::process::{MemoryPolicy, Personality, Process};
use linux_sandbox::Resources;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub oci_version: String,
    pub process: Option<Process>,
    pub root: Root,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub linux: Linux,
    #[serde(default)]
    pub hooks: BTreeMap<String, Option<Vec<Hook>>>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub struct Hook {
    pub path: PathBuf,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<String>,
    pub timeout: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Root {
    pub path: PathBuf,
    #[serde(default)]
    pub readonly: bool,
}

#[derive(Debug, Deserialize)]
pub struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub source: Option<PathBuf>,
    #[serde(default)]
    pub options: Vec<String>,
    #[serde(default, rename = "uidMappings")]
    pub uid_mappings: Vec<subids::Range>,
    #[serde(default, rename = "gidMappings")]
    pub gid_mappings: Vec<subids::Range>,
    /// The mount namespace in which the source is, when it is another container's: never in a file, see
    /// `bundle::join`.
    #[serde(rename = "mountNamespace")]
    pub lender: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    #[serde(default)]
    pub uid_mappings: Vec<subids::Range>,
    #[serde(default)]
    pub gid_mappings: Vec<subids::Range>,
    #[serde(default)]
    pub devices: Vec<Device>,
    pub cgroups_path: Option<String>,
    pub resources: Option<Resources>,
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
    #[serde(default)]
    pub masked_paths: Vec<PathBuf>,
    #[serde(default)]
    pub readonly_paths: Vec<PathBuf>,
    pub rootfs_propagation: Option<String>,
    pub mount_label: Option<String>,
    #[serde(default)]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    pub personality: Option<Personality>,
    pub intel_rdt: Option<Value>,
    pub memory_policy: Option<MemoryPolicy>,
    #[serde(default)]
    pub net_devices: BTreeMap<String, NetDevice>,
    pub seccomp: Option<linux_sandbox::Profile>,
}

#[derive(Debug, Deserialize)]
pub struct NetDevice {
    pub name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
pub struct TimeOffset {
    #[serde(default)]
    pub secs: i64,
    #[serde(default)]
    pub nanosecs: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    pub path: PathBuf,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub major: u32,
    #[serde(default)]
    pub minor: u32,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}
