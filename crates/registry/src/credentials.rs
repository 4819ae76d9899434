//! What `~/.docker/config.json` says about a host. Reading the file and running a helper is the tool's part.

use crate::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fmt;

/// Docker Hub's key in the file, from the days of its first registry.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a registry may see of us.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password, or a personal token in its place.
        password: String,
    },
    /// A refresh token of `OAuth2`, changed into access tokens at the realm.
    IdentityToken(String),
    /// An access token, sent as it is.
    RegistryToken(String),
}

/// Where the credentials of a host are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// In the file itself.
    Found(Credentials),
    /// In the program `docker-credential-NAME`, asked for this server.
    Helper {
        /// `NAME`.
        name: String,
        /// What goes to its stdin.
        server: String,
    },
    /// Nowhere: we are anonymous.
    Absent,
}

/// Secrets do not get into logs by way of `{:?}`.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

impl Credentials {
    pub(crate) fn basic_header(user: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }
}

/// Finds a registry host (`docker.io`, `r.io:5000`) in the parsed file. A helper for the host comes before the
/// file's own entry, that before the general helper: docker's order.
pub fn lookup(config: &Value, host: &str) -> Result<Lookup> {
    let keys = keys(host);
    let helper = |name: &str| Lookup::Helper { name: name.to_owned(), server: keys[0].clone() };
    for key in &keys {
        if let Some(name) = config["credHelpers"][key].as_str() {
            return Ok(helper(name));
        }
    }
    for key in &keys {
        if let Some(credentials) = entry(&config["auths"][key], host)? {
            return Ok(Lookup::Found(credentials));
        }
    }
    match config["credsStore"].as_str() {
        Some(name) if !name.is_empty() => Ok(helper(name)),
        _ => Ok(Lookup::Absent),
    }
}

/// Where a login keeps its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// In the file itself, readable for who reads the file.
    File,
    /// With the program `docker-credential-NAME`.
    Helper {
        /// `NAME`.
        name: String,
        /// The server's name there.
        server: String,
    },
}

pub(crate) fn place(config: &Value, host: &str) -> Stored {
    let keys = keys(host);
    let named = keys.iter().find_map(|key| config["credHelpers"][key].as_str()).or(config["credsStore"].as_str());
    match named {
        Some(name) if !name.is_empty() => Stored::Helper { name: name.to_owned(), server: keys[0].clone() },
        _ => Stored::File,
    }
}

/// Replaces the entry of a host; without a secret an empty one says that a helper has it, as docker does.
pub(crate) fn set(config: &mut Value, host: &str, secret: Option<(&str, &str)>) -> Option<()> {
    erase(config, host);
    let entry = match secret {
        Some((user, password)) => serde_json::json!({"auth": STANDARD.encode(format!("{user}:{password}"))}),
        None => serde_json::json!({}),
    };
    let auths = config.as_object_mut()?.entry("auths").or_insert_with(|| serde_json::json!({}));
    auths.as_object_mut()?.insert(keys(host).swap_remove(0), entry);
    Some(())
}

/// Removes all spellings of a host. False when there was none.
pub(crate) fn erase(config: &mut Value, host: &str) -> bool {
    let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) else { return false };
    keys(host).iter().filter(|key| auths.shift_remove(*key).is_some()).count() > 0
}

/// The answer of `docker-credential-NAME get`: `{"Username":…,"Secret":…}`.
pub(crate) fn from_helper(answer: &[u8], host: &str) -> Result<Credentials> {
    let bad = |reason: &str| Error::Credentials { host: host.into(), reason: reason.into() };
    let answer: Value = serde_json::from_slice(answer).map_err(|_| bad("the helper's answer is not JSON"))?;
    match (answer["Username"].as_str(), answer["Secret"].as_str()) {
        (Some("<token>"), Some(secret)) => Ok(Credentials::IdentityToken(secret.into())),
        (Some(user), Some(secret)) => Ok(Credentials::Basic { user: user.into(), password: secret.into() }),
        _ => Err(bad("the helper's answer has no Username and Secret")),
    }
}

/// The spellings that `docker login` and its forerunners have left in the file.
fn keys(host: &str) -> Vec<String> {
    if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        return vec![HUB_KEY.into(), "docker.io".into(), "index.docker.io".into(), "registry-1.docker.io".into()];
    }
    let schemes = ["https://", "http://"];
    let mut keys = vec![host.to_owned()];
    keys.extend(schemes.iter().flat_map(|s| ["", "/", "/v1/", "/v2/"].map(|tail| format!("{s}{host}{tail}"))));
    keys
}

fn entry(entry: &Value, host: &str) -> Result<Option<Credentials>> {
    let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credentials::RegistryToken(token.into())));
    }
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token.into())));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(Credentials::Basic { user: user.into(), password: password.into() }));
    }
    let Some(auth) = text("auth") else { return Ok(None) };
    let bad = || Error::Credentials { host: host.into(), reason: "\"auth\" is not base64 of USER:PASSWORD".into() };
    let plain = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
    let (user, password) = plain.split_once(':').ok_or_else(bad)?;
    Ok(Some(Credentials::Basic { user: user.into(), password: password.trim_end_matches('\0').into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn basic(user: &str, password: &str) -> Lookup {
        Lookup::Found(Credentials::Basic { user: user.into(), password: password.into() })
    }

    #[test]
    fn every_host_finds_its_own() {
        let config = json!({
            "auths": {
                "r.io:5000": {"auth": STANDARD.encode("me:pass:word")},
                "https://old.io/v2/": {"username": "u", "password": "p"},
                HUB_KEY: {"identitytoken": "T"},
                "bad.io": {"auth": "!"},
                "store.io": {},
            },
            "credHelpers": {"h.io": "gold"},
        });
        let look = |host| lookup(&config, host).unwrap();
        assert_eq!(look("r.io:5000"), basic("me", "pass:word"));
        assert_eq!(look("r.io"), Lookup::Absent, "another port is another registry");
        assert_eq!(look("old.io"), basic("u", "p"));
        assert_eq!(look("docker.io"), Lookup::Found(Credentials::IdentityToken("T".into())));
        assert_eq!(look("h.io"), Lookup::Helper { name: "gold".into(), server: "h.io".into() });
        assert_eq!(look("store.io"), Lookup::Absent);
        let error = lookup(&config, "bad.io").unwrap_err().to_string();
        assert!(error.contains("bad.io") && !error.contains('!'), "{error}");
        let store = json!({"credsStore": "secretservice"});
        assert!(matches!(lookup(&store, "docker.io").unwrap(), Lookup::Helper { server, .. } if server == HUB_KEY));
        assert_eq!(lookup(&Value::Null, "r.io").unwrap(), Lookup::Absent);
    }

    #[test]
    fn answers_of_helpers() {
        let answer = br#"{"ServerURL":"x","Username":"u","Secret":"s"}"#;
        assert_eq!(from_helper(answer, "x").unwrap(), Credentials::Basic { user: "u".into(), password: "s".into() });
        assert_eq!(format!("{:?}", from_helper(answer, "x").unwrap()), "Basic", "no secret in a log");
        let token = br#"{"Username":"<token>","Secret":"s"}"#;
        assert_eq!(from_helper(token, "x").unwrap(), Credentials::IdentityToken("s".into()));
        assert!(from_helper(b"credentials not found", "x").is_err());
        assert!(from_helper(b"{}", "x").is_err());
    }
}
