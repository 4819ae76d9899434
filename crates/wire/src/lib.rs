//! What the tools say to each other: records of one JSON object on one line, the parsed types inside them,
//! and the exit codes. The page for people is `dock-wire(5)`; the JSON Schemas stand in `man/schema/`.
//!
//! The crate knows nothing of files, tar or networks. It is the only crate that every other one may use.

#![forbid(unsafe_code)]

mod descriptor;
mod digest;
pub mod exit;
mod have;
mod path;
mod platform;
mod record;
mod reference;

pub use descriptor::{Descriptor, annotation, media_type};
pub use digest::{Algorithm, Digest, DigestError};
pub use have::{Have, HaveError};
pub use path::WirePath;
pub use platform::{Platform, PlatformError};
pub use record::{Bundle, Container, FORMAT_VERSION, Image, Layer, Overlay, Record, RecordError, Status};
pub use reference::{Reference, ReferenceError};
