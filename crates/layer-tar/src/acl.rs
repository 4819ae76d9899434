//! POSIX access control lists as text, the way star, GNU tar and libarchive keep them in PAX records
//! (`SCHILY.acl.access`), and as the kernel keeps them in an extended attribute (acl(5),
//! `linux/posix_acl_xattr.h`).

/// The attribute's format.
const VERSION: u32 = 2;
/// The length of a value that says no more than a mode.
pub(crate) const SHORTEST: usize = 4 + 3 * 8;
const NO_ID: u32 = u32::MAX;

/// The value of `system.posix_acl_access` or `system.posix_acl_default`: entries separated by commas or line feeds, each
/// `TAG:QUALIFIER:PERMISSIONS`, and after star's fashion `:ID`. None when the text is none of that, or names a user whose
/// number it does not say: the names of this machine mean nothing in an image.
pub(crate) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let entries = text.split([',', '\n']).map(|entry| entry.split('#').next().unwrap_or_default().trim());
    let mut entries: Vec<(u16, u32, u16)> =
        entries.filter(|entry| !entry.is_empty()).map(entry).collect::<Option<_>>()?;
    if entries.is_empty() {
        return None;
    }
    // The kernel wants them in the order of tags, and of numbers within one.
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Some(value)
}

fn entry(text: &str) -> Option<(u16, u32, u16)> {
    let mut fields = text.split(':').map(str::trim);
    let (tag, second) = (fields.next()?, fields.next()?);
    // `mask` and `other` have no qualifier, and some leave its field out.
    let (who, permissions) = match fields.next() {
        Some(permissions) => (second, permissions),
        None => ("", second),
    };
    let mut id = || fields.next().unwrap_or(who).parse().ok().filter(|id| *id != NO_ID);
    let (tag, id) = match (tag, who) {
        ("user" | "u", "") => (0x01, NO_ID),
        ("user" | "u", _) => (0x02, id()?),
        ("group" | "g", "") => (0x04, NO_ID),
        ("group" | "g", _) => (0x08, id()?),
        ("mask" | "m", "") => (0x10, NO_ID),
        ("other" | "o", "") => (0x20, NO_ID),
        _ => return None,
    };
    let bit = |letter| match letter {
        'r' => Some(4),
        'w' => Some(2),
        'x' => Some(1),
        '-' => Some(0),
        _ => None,
    };
    let permissions = permissions.chars().try_fold(0, |sum, letter| Some(sum | bit(letter)?))?;
    Some((tag, id, permissions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_kernels_form() {
        let bytes = |entries: &[(u16, u16, u32)]| {
            let mut value = 2u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                value.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
                value.extend(id.to_le_bytes());
            }
            value
        };
        let want = bytes(&[(1, 6, NO_ID), (2, 5, 1000), (4, 4, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID)]);
        for text in [
            "user::rw-,user:1000:r-x,group::r--,mask::rwx,other::---",
            "other::---\nuser::rw-\ngroup::r-- # effective\nuser:joe:r-x:1000\nmask:rwx\n",
        ] {
            assert_eq!(from_text(text.as_bytes()), Some(want.clone()), "{text}");
        }
        for text in ["", "user", "user:joe:r--", "user::rz-", "nobody::rwx", "user:4294967295:r--", "mask:5:rwx"] {
            assert_eq!(from_text(text.as_bytes()), None, "{text}");
        }
    }
}
