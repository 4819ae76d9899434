//! Who a container runs as: `USER` of an image or `-u`, looked up in the container's own passwd and group
//! files by reading them, never by the host's or the image's name service.

/// The highest ID that docker accepts. One more would be negative as the kernel's `int`, and 2³² more is root
/// (CVE-2024-40635).
const HIGHEST: u32 = i32::MAX as u32;

/// A user as the kernel and the process see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary groups, the primary one included (CVE-2022-36109).
    pub additional_gids: Vec<u32>,
    /// The home directory that passwd names.
    pub home: Option<String>,
}

/// Why a text names no user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// A name that passwd does not have; docker's words.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// A name that group does not have; docker's words.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that is no ID.
    #[error("{0}: uids and gids must be in range 0-2147483647")]
    Range(String),
    /// More than one colon, or a blank or control character.
    #[error("{0:?} is not a user: want NAME|UID[:GROUP|GID]")]
    Form(String),
}

/// Resolves `user[:group]` against the text of the passwd and group files. Nothing at all is root.
///
/// All digits are a number and never a name, whatever passwd says (CVE-2026-46680: a line `1000:x:0:0` must
/// not make user 1000 root).
pub fn resolve(spec: &str, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<User, UserError> {
    let (user, group_spec) = match spec.split_once(':') {
        Some((_, group)) if group.contains(':') => return Err(UserError::Form(clip(spec))),
        Some((user, group)) => (user, group),
        None => (spec, ""),
    };
    if spec.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(UserError::Form(clip(spec)));
    }
    let wanted = if user.is_empty() { Some(0) } else { number(user)? };
    let mut entries = passwd.into_iter().flat_map(passwd_entries);
    let entry = entries.find(|entry| wanted.map_or(entry.name == user, |uid| entry.id == uid));
    let uid = match (&entry, wanted) {
        (Some(entry), _) => entry.id,
        (None, Some(uid)) => uid,
        (None, None) => return Err(UserError::NoUser(clip(user))),
    };
    let groups = || group.into_iter().flat_map(group_entries);
    let (gid, mut others) = if group_spec.is_empty() {
        let member = |g: &GroupEntry| entry.as_ref().is_some_and(|entry| g.members.contains(&entry.name));
        let others = groups().filter(member).map(|g| g.id).collect();
        (entry.as_ref().map_or(0, |entry| entry.gid), others)
    } else {
        let gid = match number(group_spec)? {
            Some(gid) => gid,
            None => groups().find(|g| g.name == group_spec).ok_or_else(|| UserError::NoGroup(clip(group_spec)))?.id,
        };
        (gid, Vec::new())
    };
    others.retain(|other| *other != gid);
    others.insert(0, gid);
    others.dedup();
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/'));
    Ok(User { uid, gid, additional_gids: others, home })
}

/// The HOME of a process that has none: what passwd has for its user, else the root directory. No specification says
/// so; every runtime does, and dockerd counts on it.
pub fn home(uid: u32, passwd: Option<&[u8]>) -> String {
    let user = resolve(&uid.to_string(), passwd, None).ok();
    user.and_then(|user| user.home).unwrap_or_else(|| "/".into())
}

/// The number of one group, by number or by its name in the text of the group file.
pub fn group(wish: &str, group: Option<&[u8]>) -> Result<u32, UserError> {
    if wish.is_empty() || wish.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':') {
        return Err(UserError::Form(clip(wish)));
    }
    if let Some(gid) = number(wish)? {
        return Ok(gid);
    }
    let found = group.into_iter().flat_map(group_entries).find(|entry| entry.name == wish);
    found.map(|entry| entry.id).ok_or_else(|| UserError::NoGroup(clip(wish)))
}

/// The number that an all-digits text is.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        // A sign before digits is a number too, to docker; no passwd has such a name.
        let digits = text.strip_prefix(['-', '+']).unwrap_or_default();
        let signed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        return if signed { Err(UserError::Range(clip(text))) } else { Ok(None) };
    }
    match text.parse::<u32>() {
        Ok(id) if id <= HIGHEST => Ok(Some(id)),
        _ => Err(UserError::Range(clip(text))),
    }
}

struct PasswdEntry {
    name: String,
    id: u32,
    gid: u32,
    home: String,
}

struct GroupEntry {
    name: String,
    id: u32,
    members: Vec<String>,
}

/// `name:password:uid:gid:comment:home:shell`, passwd(5). A line whose IDs are not plain numbers in range is
/// no entry: taking it for 0 would make it root.
fn passwd_entries(text: &[u8]) -> impl Iterator<Item = PasswdEntry> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let fields: Vec<&str> = line.trim_end_matches('\r').split(':').collect();
        let [name, _, id, gid, rest @ ..] = fields.as_slice() else { return None };
        let (id, gid) = (plain(id)?, plain(gid)?);
        Some(PasswdEntry { name: (*name).into(), id, gid, home: (*rest.get(1).unwrap_or(&"")).into() })
    })
}

/// `name:password:gid:member,member`, group(5).
fn group_entries(text: &[u8]) -> impl Iterator<Item = GroupEntry> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let fields: Vec<&str> = line.trim_end_matches('\r').split(':').collect();
        let [name, _, id, rest @ ..] = fields.as_slice() else { return None };
        let members = rest.first().unwrap_or(&"").split(',').map(|member| member.trim().to_owned()).collect();
        Some(GroupEntry { name: (*name).into(), id: plain(id)?, members })
    })
}

fn plain(text: &str) -> Option<u32> {
    number(text).ok().flatten().filter(|_| !text.is_empty())
}

/// Hostile text goes into an error message only so far.
fn clip(text: &str) -> String {
    text.chars().take(150).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        www:x:33:34:web:/var/www:/bin/false\n\
        1000:x:0:0:a trap:/root:/bin/sh\n\
        huge:x:4294967296:0::/:\n\
        empty:x:::::\n\
        short:x\n\
        bob:x:1001:1001::relative:\r\n";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:34:bob\nextra:x:50:www,bob\n77:x:0:\nbroken:x:-1:bob\n";

    fn user(spec: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
        resolve(spec, Some(PASSWD), Some(GROUP)).map(|user| (user.uid, user.gid, user.additional_gids))
    }

    #[test]
    fn docker_users() {
        for (spec, want) in [
            ("", (0, 0, vec![0])),
            ("root", (0, 0, vec![0])),
            ("0", (0, 0, vec![0])),
            ("www", (33, 34, vec![34, 50])),
            ("33", (33, 34, vec![34, 50])),
            ("www:root", (33, 0, vec![0])),
            ("www:50", (33, 50, vec![50])),
            (":50", (0, 50, vec![50])),
            ("bob", (1001, 1001, vec![1001, 34, 50])),
            ("4711", (4711, 0, vec![0])),
            ("4711:4712", (4711, 4712, vec![4712])),
            ("2147483647", (2_147_483_647, 0, vec![0])),
            ("0001001", (1001, 1001, vec![1001, 34, 50])),
        ] {
            assert_eq!(user(spec), Ok(want), "{spec:?}");
        }
    }

    #[test]
    fn cve_2024_40635_and_2026_46680_digits_are_a_number_in_range_and_never_a_name() {
        assert_eq!(user("1000"), Ok((1000, 0, vec![0])));
        assert_eq!(user("5:77"), Ok((5, 77, vec![77])));
        for spec in ["2147483648", "4294967295", "4294967296", "99999999999999999999", "-1", "5:4294967296", "5:-1"] {
            assert!(matches!(user(spec), Err(UserError::Range(_))), "{spec:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_and_never_root() {
        for spec in ["nobody", "huge", "empty", "short", "www:none", "www:broken", "a:b:c", "ww w", "www\n", "１"] {
            assert!(user(spec).is_err(), "{spec:?}");
        }
        assert!(resolve("root", None, None).is_err());
        assert_eq!(resolve("", None, None).unwrap().additional_gids, [0]);
    }

    #[test]
    fn home_comes_from_passwd_and_is_absolute() {
        let home = |spec| resolve(spec, Some(PASSWD), None).unwrap().home;
        assert_eq!(home("www").as_deref(), Some("/var/www"));
        assert_eq!(home("bob"), None);
        assert_eq!(home("9"), None);
    }
}
