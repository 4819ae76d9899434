//! systemd makes the cgroup: a scope of its own for the container, in a slice, with the limits as properties, so that
//! `systemctl` shows them and a reload of systemd does not take them back. Its cgroup is delegated: what no property
//! says is written into its files. systemd is asked over D-Bus by its own busctl(1). Read systemd.scope(5),
//! org.freedesktop.systemd1(5) and <https://systemd.io/CGROUP_DELEGATION>.

mod version_1;

use super::{Cgroups, Hierarchies, Limit, checked, swap_alone, v2};
use crate::error::{Call, Error, Result};
use crate::steps::{Mechanism, Scene, Step, all, quote};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A scope that systemd is asked for.
#[derive(Debug, Serialize)]
pub struct Scope {
    /// Its name and whose it is.
    #[serde(flatten)]
    pub unit: Unit,
    /// The slice in which it stands.
    pub slice: String,
    /// The limits as systemd has them: words of busctl(1), the name, the signature and the value.
    pub properties: Vec<Vec<String>>,
    /// The cgroup, and the limits as the kernel has them.
    #[serde(flatten)]
    pub cgroups: Cgroups,
}

/// A unit of the system's manager, or of a user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// `PREFIX-NAME.scope`
    #[serde(rename = "unit")]
    pub name: String,
    /// The manager of the user who runs us.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the unit is beside its limits: delegated, and forgotten with its end.
const USUAL: [&str; 7] = [
    "Delegate b true",
    "DefaultDependencies b false",
    "CollectMode s inactive-or-failed",
    "CPUAccounting b true",
    "MemoryAccounting b true",
    "IOAccounting b true",
    "TasksAccounting b true",
];

const MANAGER: &str = "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";

/// `SLICE:PREFIX:NAME` is how those who use systemd name a cgroup. This is where systemd makes it: `a-b.slice` stands
/// in `a.slice`. Every other name is a path already.
pub fn where_systemd_would(path: &str) -> String {
    let [slice, prefix, name] = path.split(':').collect::<Vec<_>>()[..] else { return path.into() };
    if path.contains('/') {
        return path.into();
    }
    let slice = match slice {
        "" => "system.slice",
        "-.slice" => "",
        slice => slice,
    };
    let mut parts = Vec::new();
    let stem = slice.trim_end_matches(".slice");
    for (at, _) in stem.match_indices('-') {
        parts.push(format!("{}.slice", &stem[..at]));
    }
    parts.extend((!slice.is_empty()).then(|| slice.to_owned()));
    parts.push(match (name.strip_suffix(".slice"), prefix) {
        (Some(_), _) | (_, "") => name.into(),
        _ => format!("{prefix}-{name}.scope"),
    });
    parts.join("/")
}

impl Scope {
    /// `user` is the one whose own manager is asked; without it, the system's.
    pub fn new(
        trees: &Hierarchies,
        name: &str,
        limits: &[Limit],
        user: Option<u32>,
    ) -> std::result::Result<Self, Error> {
        let [slice, prefix, short] = name.split(':').collect::<Vec<_>>()[..] else {
            // In the words of runc, for which callers look.
            return Err(Error::refused(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {name:?} instead"
            )));
        };
        let wrong = |part: &str| part.contains('/') || part.starts_with('.');
        if short.is_empty() || short.strip_suffix(".slice").is_some() || [slice, prefix, short].into_iter().any(wrong) {
            return Err(Error::refused(format!("cgroupsPath {name:?}: names no scope in a slice")));
        }
        if trees.0.is_empty() {
            return Err(Error::refused("systemd cannot be asked for cgroups: this host has none"));
        }
        if user.is_some() && !trees.is_unified() {
            return Err(Error::refused("the systemd of a user has no cgroups of version 1, and this host has"));
        }
        let usual = if user.is_some() { "user.slice" } else { "system.slice" };
        let slice = if slice.is_empty() { usual } else { slice };
        let path = where_systemd_would(&format!("{slice}:{prefix}:{short}"));
        let unit = checked(&path)?.rsplit('/').next().unwrap_or_default();
        let unit = if unit.strip_suffix(".scope").is_some() { unit.to_owned() } else { format!("{unit}.scope") };
        let above = Path::new(&path).parent().unwrap_or(Path::new(""));
        let top = user.map(|uid| format!("user.slice/user-{uid}.slice/user@{uid}.service")).unwrap_or_default();
        let path = Path::new(&top).join(above).join(&unit);
        let path = path.to_string_lossy();
        let mut cgroups = Cgroups::new(trees, &path, limits, false)?;
        cgroups.in_every_tree(trees, &path)?;
        Ok(Self {
            unit: Unit { name: unit, user: user.is_some() },
            slice: slice.to_owned(),
            properties: if trees.is_unified() { properties(limits) } else { version_1::properties(limits) },
            cgroups,
        })
    }

    /// The whole command line, but for the process.
    fn words(&self, pid: &str) -> Vec<String> {
        let own = [format!("PIDs au 1 {pid}"), format!("Slice s {}", self.slice)];
        let own: Vec<&str> = own.iter().map(String::as_str).chain(USUAL).collect();
        let own = own.iter().map(|words| words.split(' ').map(Into::into).collect::<Vec<String>>());
        let all: Vec<_> = own.chain(self.properties.iter().cloned()).collect();
        let mut words = manager("StartTransientUnit", "ssa(sv)a(sa(sv))");
        words.extend([self.unit.name.clone(), "fail".into(), all.len().to_string()]);
        words.extend(all.into_iter().flatten());
        words.push("0".into());
        words
    }

    /// Gives a scope that is there these limits.
    pub fn update(&self) -> std::result::Result<(), Error> {
        let mut words = manager("SetUnitProperties", "sba(sv)");
        words.extend([self.unit.name.clone(), "true".into(), self.properties.len().to_string()]);
        words.extend(self.properties.iter().flatten().cloned());
        self.unit.busctl(words)?;
        self.cgroups.rewrite()
    }

    /// The job is done when systemd has forgotten it, and went well when the process is where it shall be.
    fn wait(&self, pid: i32, job: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let state = ["get-property", "org.freedesktop.systemd1", job, "org.freedesktop.systemd1.Job", "State"];
        loop {
            let is_done = self.unit.busctl(state.map(Into::into)).is_err();
            let place = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            // With version 1, a tree without controllers is systemd's own.
            let tree = if place.contains(":name=systemd:") { ":name=systemd:/" } else { "0::/" };
            let place = place.lines().find_map(|line| Some(line.split_once(tree)?.1)).unwrap_or_default();
            if self.cgroups.groups.iter().any(|group| group.path.ends_with(place) && !place.is_empty()) {
                return Ok(());
            }
            if is_done || Instant::now() > until {
                let (name, user) = (&self.unit.name, if self.unit.user { " --user" } else { "" });
                return Err(Error::refused(format!(
                    "systemd: {name}: its process is in /{place}: journalctl{user} -u {name} tells why"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Mechanism for Scope {
    fn shell(&self) -> String {
        all([self.unit.line(&self.words("$pid")), self.cgroups.lines(false)])
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        let said = self.unit.busctl(self.words(&pid.to_string()))?;
        self.cgroups.groups.iter().for_each(|group| group.made.set(true));
        // o "/org/freedesktop/systemd1/job/7"
        let job = said.split('"').nth(1).unwrap_or_default();
        self.wait(pid, job)?;
        version_1::go_everywhere(&self.cgroups, pid)?;
        self.cgroups.fill(scene)
    }

    fn undo(&self) {
        if self.cgroups.groups.iter().any(|group| group.made.get()) {
            self.cgroups.undo();
            self.unit.stop();
        }
    }
}

/// The member of a container's state that names its unit.
const MEMBER: &str = "systemd";

impl Unit {
    /// Notes in the state of a container what systemd made for it, if one of the steps asked for something.
    pub fn note(steps: &[Step], state: &mut Map<String, Value>) {
        if let Some(Self { name, user }) = steps.iter().find_map(Step::unit) {
            state.insert(MEMBER.into(), json!({ "unit": name, "user": user }));
        }
    }

    /// What was noted.
    pub fn noted(state: &Map<String, Value>) -> Option<Self> {
        let unit = state.get(MEMBER)?;
        Some(Self { name: unit["unit"].as_str()?.to_owned(), user: unit["user"] == true })
    }

    /// Ends it. systemd forgets a scope when its last process has gone: mostly there is nothing left to do.
    pub fn stop(&self) {
        for (method, signature, mode) in [("StopUnit", "ss", Some("replace")), ("ResetFailedUnit", "s", None)] {
            let mut words = manager(method, signature);
            words.push(self.name.clone());
            words.extend(mode.map(Into::into));
            let _ = self.busctl(words);
        }
    }

    /// Words of busctl(1) as a person would type them.
    fn line(&self, words: &[String]) -> String {
        let words: Vec<String> =
            words.iter().map(|word| if word == "$pid" { word.clone() } else { quote(word) }).collect();
        format!("busctl {}{}", if self.user { "--user " } else { "" }, words.join(" "))
    }

    fn busctl(&self, words: impl IntoIterator<Item = String>) -> Result<String> {
        let whose = if self.user { "--user" } else { "--system" };
        let output = Command::new("busctl").arg(whose).args(words).stdin(Stdio::null()).output();
        let output = match output {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::refused("systemd: this host has no busctl, by which it is asked for cgroups"));
            }
            other => other.call(|| "busctl".into())?,
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::refused(format!("systemd: {}: busctl: {}", self.name, said.lines().next().unwrap_or("failed"))))
    }
}

/// Has the manager of a user bring a process into a container's scope: where the user's other processes are is not for
/// him to change.
#[derive(Debug, Serialize)]
pub struct Attach {
    /// The scope.
    #[serde(flatten)]
    pub unit: Unit,
}

impl Attach {
    fn words(&self, pid: &str) -> Vec<String> {
        let mut words = manager("AttachProcessesToUnit", "ssau");
        words.extend([&self.unit.name, "", "1", pid].map(Into::into));
        words
    }
}

impl Mechanism for Attach {
    fn shell(&self) -> String {
        self.unit.line(&self.words("$pid"))
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let pid = scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        if let Err(error) = self.unit.busctl(self.words(&pid.to_string())) {
            scene.note(&format!("{error}: the container's limits do not hold here"));
        }
        Ok(())
    }
}

fn manager(method: &str, signature: &str) -> Vec<String> {
    let mut words = vec!["call".to_owned()];
    words.extend(MANAGER.split(' ').chain([method, signature]).map(Into::into));
    words
}

/// The limits that systemd knows, as runc translates them. The others stand in the cgroup's files only.
fn properties(limits: &[Limit]) -> Vec<Vec<String>> {
    let number = |name: &str, value: u64| vec![name.to_owned(), "t".to_owned(), value.to_string()];
    let or_max = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let mut list = Vec::new();
    for limit in limits {
        match limit {
            Limit::Memory(bytes) => list.push(number("MemoryMax", or_max(*bytes))),
            Limit::MemorySwap(both) => list.push(number("MemorySwapMax", or_max(swap_alone(*both, limits)))),
            Limit::MemoryReservation(bytes) => list.push(number("MemoryLow", or_max(*bytes))),
            Limit::CpuShares(shares) => list.push(number("CPUWeight", v2::weight(*shares))),
            Limit::CpuQuota(quota, period) => {
                let period = period.unwrap_or(100_000).max(1);
                // systemd counts hundredths of a second and rounds down.
                let second = u64::try_from(*quota)
                    .map_or(u64::MAX, |quota| (quota * 1_000_000).div_ceil(period).next_multiple_of(10_000));
                list.push(number("CPUQuotaPerSecUSec", second));
                list.push(number("CPUQuotaPeriodUSec", period));
            }
            Limit::Pids(count) => list.push(number("TasksMax", or_max(*count))),
            Limit::CpusetCpus(text) => list.extend(bits("AllowedCPUs", text)),
            Limit::CpusetMems(text) => list.extend(bits("AllowedMemoryNodes", text)),
            Limit::Unified(file, text) => list.extend(unified(file, text).map(|(name, value)| number(name, value))),
            Limit::Devices(_) | Limit::Files(_) => {}
        }
    }
    list
}

/// A file of version 2 of which systemd has a property.
fn unified(file: &str, text: &str) -> Option<(&'static str, u64)> {
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "cpu.weight" => "CPUWeight",
        "pids.max" => "TasksMax",
        _ => return None,
    };
    let value = if text.trim() == "max" { u64::MAX } else { text.trim().parse().ok()? };
    Some((name, value))
}

/// `0-3,6` as bytes of bits, the lowest first; what is no such list the kernel will refuse by name.
fn bits(name: &str, list: &str) -> Option<Vec<String>> {
    const MOST: usize = 8192;
    let mut bytes: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        for bit in first..=last.min(MOST) {
            bytes.resize(bytes.len().max(bit / 8 + 1), 0);
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    let head = [name.to_owned(), "ay".to_owned(), bytes.len().to_string()];
    Some(head.into_iter().chain(bytes.iter().map(ToString::to_string)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hierarchy;

    fn scope(name: &str, limits: &[Limit], user: Option<u32>) -> std::result::Result<Scope, Error> {
        let tree = Hierarchy {
            unified: true,
            mount: "/sys/fs/cgroup".into(),
            controllers: ["cpu", "cpuset", "memory", "pids"].map(Into::into).into(),
            own: "".into(),
        };
        Scope::new(&Hierarchies(vec![tree]), name, limits, user)
    }

    #[test]
    fn limits_are_properties_and_files() {
        let limits = [
            Limit::Memory(100),
            Limit::MemorySwap(-1),
            Limit::CpuShares(512),
            Limit::CpuQuota(5, Some(1000)),
            Limit::CpusetCpus("0-2,9".into()),
            Limit::Pids(7),
            Limit::Unified("memory.high".into(), "max".into()),
        ];
        let scope = scope("a-b.slice:pre:name", &limits, None).unwrap();
        let line = scope.shell();
        let max = u64::MAX;
        for part in [
            "StartTransientUnit 'ssa(sv)a(sa(sv))' pre-name.scope fail 17 PIDs au 1 $pid Slice s a-b.slice Delegate b true ",
            &format!(
                " MemoryMax t 100 MemorySwapMax t {max} CPUWeight t 20 CPUQuotaPerSecUSec t 10000 CPUQuotaPeriodUSec t 1000 "
            ),
            &format!(" AllowedCPUs ay 2 7 2 TasksMax t 7 MemoryHigh t {max} 0 && "),
            "echo 100 >/sys/fs/cgroup/a.slice/a-b.slice/pre-name.scope/memory.max",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[test]
    fn a_scope_has_a_name_and_a_slice() {
        let path = |name, user| scope(name, &[], user).map(|scope| scope.cgroups.groups[0].path.display().to_string());
        assert_eq!(path(":dock:x", None).unwrap(), "/sys/fs/cgroup/system.slice/dock-x.scope");
        let own = "/sys/fs/cgroup/user.slice/user-5.slice/user@5.service/user.slice/dock-x.scope";
        assert_eq!(path(":dock:x", Some(5)).unwrap(), own);
        assert_eq!(path("-.slice::x", None).unwrap(), "/sys/fs/cgroup/x.scope");
        for name in ["/a/b", "x", ":a:", "a/b:c:d", "../x:c:d", "a.slice:b:c.slice", ":../..:x"] {
            assert!(path(name, None).is_err(), "{name}");
        }
        assert!(Scope::new(&Hierarchies::default(), ":a:b", &[], None).is_err());
    }

    #[test]
    fn version_1_has_other_properties_and_no_manager_of_a_user() {
        let tree = |name: &str| Hierarchy {
            unified: false,
            mount: format!("/sys/fs/cgroup/{name}").into(),
            controllers: vec![name.into()],
            own: "".into(),
        };
        let trees = Hierarchies(vec![tree("memory"), tree("cpu"), tree("name=systemd")]);
        let limits = [Limit::Memory(100), Limit::MemorySwap(200), Limit::CpuShares(512)];
        let scope = Scope::new(&trees, ":dock:x", &limits, None).unwrap();
        assert_eq!(scope.properties.concat().join(" "), "MemoryLimit t 100 CPUShares t 512");
        assert_eq!(scope.cgroups.groups.len(), 3);
        let error = Scope::new(&trees, ":dock:x", &limits, Some(5)).unwrap_err().to_string();
        assert!(error.contains("no cgroups of version 1"), "{error}");
    }

    #[test]
    fn cgroups_stand_where_systemd_would_make_them() {
        for (path, want) in [
            ("system.slice:docker:0123", "system.slice/docker-0123.scope"),
            (":libpod:ab", "system.slice/libpod-ab.scope"),
            ("user-1000-x.slice:crio:1", "user.slice/user-1000.slice/user-1000-x.slice/crio-1.scope"),
            ("-.slice:a:b", "a-b.scope"),
            ("a.slice::b.slice", "a.slice/b.slice"),
            ("/dock/x", "/dock/x"),
            ("dock/a:b:c", "dock/a:b:c"),
        ] {
            assert_eq!(where_systemd_would(path), want);
        }
    }
}
