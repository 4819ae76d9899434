//! An OCI image layout (image-spec image-layout.md) as a store that several programs use at once: blobs under
//! their digests, `index.json` with the names, and below `.dock/` what only we need: temporary files, two locks
//! and pins. Everything else that reads OCI layouts reads this one.
//!
//! The order of every change keeps the store valid at each instant: a blob is written to a temporary file,
//! hashed on the way, synced, and renamed to its digest; only then may `index.json` name it, itself replaced by
//! rename. A crash leaves at worst temporary files, which the next [`Layout::open_or_create`] removes, and blobs
//! that nothing names, which [`Layout::collect`] removes.
//!
//! The crate knows nothing of tar, compression or networks.

#![forbid(unsafe_code)]

mod blob;
mod error;
mod fsck;
mod gc;
mod hash;
mod image;
mod index;
mod layout;
mod lease;
mod mend;
mod names;
mod partial;
mod pins;
mod temp;

pub use blob::{BlobReader, BlobWriter};
pub use error::{Error, Result};
pub use fsck::{Class, Finding, Severity, Summary};
pub use gc::Hold;
pub use hash::{Hashed, Hasher, digest_of};
pub use image::{Manifest, OpenImage};
pub use layout::Layout;
pub use mend::Rebuilt;

/// Manifests, configurations and indexes are small; a bigger one is an attack (CVE-2021-41190's family, and
/// distribution's own limit).
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

#[cfg(test)]
mod tests;
