//! The client side of the OCI distribution API (distribution-spec): a reference becomes the bytes of a
//! manifest and streams of blobs.
//!
//! Everything comes in as an argument: the host, the credentials, the certificates. What a registry says is
//! hostile until its digest fits: documents are capped, credentials stay at the origin they belong to, and a
//! layer's foreign `urls` are never followed.

#![forbid(unsafe_code)]

mod blob;
mod certs;
mod challenge;
mod client;
mod config;
mod credentials;
mod error;
mod listing;
mod manifest;
mod mirrors;
mod origin;
mod proxy;
mod retry;
mod token;
mod transport;
mod upload;

pub use blob::Blob;
pub use certs::Certificates;
pub use client::{Client, Options};
pub use config::{ConfigFile, Settings};
pub use credentials::{Credentials, Lookup, Stored, lookup};
pub use error::Error;
pub use listing::Found;
pub use manifest::{Document, Index, Manifest};
pub use mirrors::{Mirror, mirrors};
pub use proxy::Proxies;
pub use upload::{Placed, Source};

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The spec's floor for what a registry must take as a manifest, and the most that is read into memory.
pub const LARGEST_MANIFEST: u64 = 4 << 20;
