//! PAX records: `LENGTH key=value`, of which an entry may have many. Those that nobody here knows are not looked at.

use super::fields::{base64_decoded, digits, percent_decoded, time};
use super::refused;
use crate::acl;
use crate::sparse::{self};
use crate::{Result, Time, Xattrs};

/// The kernel's own limits for extended attributes.
const LONGEST_XATTR_NAME: usize = 255;
const LARGEST_XATTR: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: Option<sparse::Records>,
    pub(super) unreadable: u64,
}

impl Pax {
    /// `LENGTH key=value\n` again and again.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut pax = Self::default();
        let malformed = || refused("", "malformed PAX record");
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize = digits(&bytes[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(malformed)?;
            if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
                return Err(malformed());
            }
            let body = &bytes[space + 1..length - 1];
            let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            pax.set(&body[..equals], &body[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || refused("", &format!("malformed PAX {:?}", String::from_utf8_lossy(key)));
        let id = || digits(value).and_then(|n| u32::try_from(n).ok()).ok_or_else(malformed);
        match key {
            // An empty value takes back what a global header said; there is nothing to take back.
            b"path" if !value.is_empty() => self.path = Some(value.to_vec()),
            b"linkpath" if !value.is_empty() => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(digits(value).filter(|n| i64::try_from(*n).is_ok()).ok_or_else(malformed)?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(malformed)?),
            b"SCHILY.acl.access" => self.acl(b"system.posix_acl_access", value),
            b"SCHILY.acl.default" => self.acl(b"system.posix_acl_default", value),
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().set(key, value).ok_or_else(malformed)?;
                } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(name.to_vec(), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = percent_decoded(name).ok_or_else(malformed)?;
                    let value = base64_decoded(value).ok_or_else(malformed)?;
                    // libarchive writes both forms; SCHILY's has the bytes as they are.
                    if !self.xattrs.contains_key(&name) {
                        self.xattr(name, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Who archives an ACL as an attribute, too, has the same in it, and more exactly.
    fn acl(&mut self, name: &[u8], text: &[u8]) {
        match acl::from_text(text) {
            _ if text.is_empty() || self.xattrs.contains_key(name) => {}
            // Owner, group and others: the mode has said it.
            Some(value) if name == b"system.posix_acl_access" && value.len() == acl::SHORTEST => {}
            Some(value) => drop(self.xattrs.insert(name.to_vec(), value)),
            None => self.unreadable += 1,
        }
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<()> {
        if name.is_empty() || name.len() > LONGEST_XATTR_NAME || name.contains(&0) || value.len() > LARGEST_XATTR {
            return Err(refused("", "an extended attribute beyond the kernel's limits"));
        }
        self.xattrs.insert(name, value);
        Ok(())
    }

    pub(super) fn refuse_in_global(self) -> Result<()> {
        if self.path.is_some()
            || self.link.is_some()
            || self.size.is_some()
            || self.sparse.is_some()
            || !self.xattrs.is_empty()
        {
            return Err(refused("", "a global PAX header that gives every entry a path, size or attribute"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_records_are_errors() {
        for block in [
            &b"5 a=b"[..],
            b"7 a=b\n",
            b"x a=b\n",
            b"6 a=b",
            b"4 a\n",
            b"0 \n",
            b"99999999999999999999999 a=b\n",
            b" ",
            b"10 size=x\n",
            b"11 size=-1\n",
            b"27 size=9999999999999999999\n",
            b"11 mtime=x\n",
            b"17 GNU.sparse.a=\n",
            b"24 GNU.sparse.numbytes=1\n",
            b"22 GNU.sparse.map=1,x\n",
            b"20 GNU.sparse.map=1\n",
            b"22 GNU.sparse.major=1\n22 GNU.sparse.major=1\n",
        ] {
            assert!(Pax::parse(block).is_err(), "{:?}", String::from_utf8_lossy(block));
        }
        assert!(Pax::parse(b"6 a=b\n").is_ok());
    }
}
