//! From JSON to the values of a template, and what JSON does not say: the order of members, and which objects
//! docker keeps in a Go map instead of a struct.

use gotmpl::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Members that are a map in docker's types: any key may be asked for, and they print as `map[…]`.
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Members that are a list in docker's types, so that their null prints as `[]`.
const LISTS: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// Members that are a text in docker's types.
const TEXTS: &[&str] = &["MacAddress", "StopSignal"];

/// Members that docker leaves out of its JSON when they are empty, but whose types have them: a null when they are
/// not there.
const OPTIONAL: &[&str] =
    &["ArgsEscaped", "ExposedPorts", "Health", "Healthcheck", "MacAddress", "Shell", "StopSignal", "StopTimeout"];

/// What is known of a map or list beyond its content.
#[derive(Debug, Clone)]
enum Kind {
    /// The members in their order.
    Struct(Vec<Arc<str>>),
    Map,
    /// A null: an empty list or map that says what it is when it is printed.
    Null(&'static str),
}

/// What is known of the maps and lists of a document, by where they lie in memory: values are shared, not
/// copied, while a template runs.
#[derive(Debug)]
pub struct Known {
    kinds: HashMap<usize, Kind>,
    /// Nulls for members that are not there, by their names.
    absent: HashMap<&'static str, Value>,
    /// Keeps all of them where they are.
    _root: Value,
}

impl Known {
    /// The document as a value, and what is known of it.
    pub fn of(document: &serde_json::Value) -> (Value, Self) {
        let mut kinds = HashMap::new();
        let root = convert(document, "", "", &mut kinds);
        let null = |name| (name, convert(&serde_json::Value::Null, name, "", &mut kinds));
        let absent = OPTIONAL.iter().copied().map(null).collect();
        (root.clone(), Self { kinds, absent, _root: root })
    }

    /// A member that docker may leave out.
    pub fn absent(&self, name: &str) -> Option<&Value> {
        self.absent.get(name)
    }

    fn kind(&self, value: &Value) -> Option<&Kind> {
        self.kinds.get(&address(value)?)
    }

    /// Whether a key that it has not is just not there, instead of a mistake.
    pub fn is_map(&self, value: &Value) -> bool {
        !matches!(self.kind(value), Some(Kind::Struct(_)))
    }

    /// Whether it stands for a null.
    pub fn is_null(&self, value: &Value) -> bool {
        matches!(self.kind(value), Some(Kind::Null(_)) | None) && matches!(value, Value::Nil)
            || matches!(self.kind(value), Some(Kind::Null("<nil>")))
    }

    /// Back to JSON, the members of structs in their order.
    pub fn json(&self, value: &Value) -> serde_json::Value {
        if matches!(self.kind(value), Some(Kind::Null(_))) {
            return serde_json::Value::Null;
        }
        match value {
            Value::Bool(bool) => (*bool).into(),
            Value::Int(number) => (*number).into(),
            Value::Uint(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::String(text) => text.as_ref().into(),
            Value::List(list) => list.iter().map(|item| self.json(item)).collect(),
            Value::Map(map) => match self.kind(value) {
                Some(Kind::Struct(order)) => {
                    let member = |name: &Arc<str>| Some((name.to_string(), self.json(map.get(name)?)));
                    serde_json::Value::Object(order.iter().filter_map(member).collect())
                }
                _ => serde_json::Value::Object(map.iter().map(|(k, v)| (k.to_string(), self.json(v))).collect()),
            },
            Value::Nil | Value::Function(_) => serde_json::Value::Null,
        }
    }

    /// As Go prints it: `[a b]`, `map[a:1]`, a struct `{1 2}`.
    pub fn print(&self, value: &Value) -> String {
        match (value, self.kind(value)) {
            (_, Some(Kind::Null(shown))) => (*shown).into(),
            (Value::Nil, _) => "<no value>".into(),
            (Value::List(list), _) => format!("[{}]", joined(list.iter().map(|item| self.inner(item)))),
            (Value::Map(map), Some(Kind::Struct(order))) => {
                format!("{{{}}}", joined(order.iter().filter_map(|name| Some(self.inner(map.get(name)?)))))
            }
            (Value::Map(map), _) => {
                format!("map[{}]", joined(map.iter().map(|(key, item)| format!("{key}:{}", self.inner(item)))))
            }
            (other, _) => other.to_string(),
        }
    }

    fn inner(&self, value: &Value) -> String {
        if matches!(value, Value::Nil) { "<nil>".into() } else { self.print(value) }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

fn address(value: &Value) -> Option<usize> {
    match value {
        Value::List(list) => Some(Arc::as_ptr(list).cast::<u8>() as usize),
        Value::Map(map) => Some(Arc::as_ptr(map).cast::<u8>() as usize),
        _ => None,
    }
}

/// `name` is that of the member, `parent` that of the member it stands in.
fn convert(json: &serde_json::Value, name: &str, parent: &str, kinds: &mut HashMap<usize, Kind>) -> Value {
    // docker's struct Config, but LogConfig has a map of that name.
    let is_map = MAPS.contains(&name) || name == "Config" && parent == "LogConfig";
    let (value, kind) = match json {
        serde_json::Value::Null if is_map => (Value::Map(Arc::default()), Kind::Null("map[]")),
        serde_json::Value::Null if LISTS.contains(&name) => (Value::List(Arc::from([])), Kind::Null("[]")),
        serde_json::Value::Null if TEXTS.contains(&name) => return Value::String("".into()),
        serde_json::Value::Null => (Value::List(Arc::from([])), Kind::Null("<nil>")),
        serde_json::Value::Bool(bool) => return Value::Bool(*bool),
        serde_json::Value::Number(number) => return number_of(number),
        serde_json::Value::String(text) => return Value::String(text.as_str().into()),
        serde_json::Value::Array(items) => {
            return Value::List(items.iter().map(|item| convert(item, "", name, kinds)).collect());
        }
        serde_json::Value::Object(members) => {
            let entry = |(key, value): (&String, &serde_json::Value)| {
                let inner = if is_map { "" } else { key.as_str() };
                (Arc::from(key.as_str()), convert(value, inner, name, kinds))
            };
            let map: BTreeMap<Arc<str>, Value> = members.iter().map(entry).collect();
            let order = members.keys().map(|key| Arc::from(key.as_str())).collect();
            (Value::Map(Arc::new(map)), if is_map { Kind::Map } else { Kind::Struct(order) })
        }
    };
    kinds.extend(address(&value).map(|address| (address, kind)));
    value
}

fn number_of(number: &serde_json::Number) -> Value {
    match (number.as_i64(), number.as_u64()) {
        (Some(number), _) => Value::Int(number),
        (None, Some(number)) => Value::Uint(number),
        (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
    }
}
