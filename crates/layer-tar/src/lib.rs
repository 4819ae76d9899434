//! Layers as tar: read one and apply it to a directory ([`apply()`]), look at a stack of them without a mount
//! ([`Stack`]), and write the difference of two trees as a new one ([`diff_trees`], [`diff_overlay`]).
//!
//! A layer is a tar of what was added and changed. What was removed stands in it as a *whiteout*, an empty
//! file `.wh.NAME`; a directory whose lower content is gone altogether holds `.wh..wh..opq` (OCI image-spec
//! layer.md). On disk, below an overlay mount, the same two facts are a character device 0:0 and an extended
//! attribute (the kernel's Documentation/filesystems/overlayfs.rst).
//!
//! Image content is hostile. No path of it is ever handed to the kernel as a string to be followed: every
//! parent is opened from the root's descriptor, and the last component is never followed.

#![forbid(unsafe_code)]

mod acl;
mod apply;
pub mod codec;
mod diff;
mod error;
mod finish;
mod flatten;
mod glance;
mod node;
mod read;
mod root;
mod sparse;
mod stack;
mod subtree;
pub mod write;

pub use apply::{Applied, Loss, Options, Owners, Target, apply, copy_root, drop_void_whiteouts};
pub use diff::{
    Attribute, Change, ChangeKind, ChangeList, Compare, Copied, LayerWriter, Sink, diff_overlay, diff_trees,
};
pub use error::Error;
pub use flatten::{Flat, FlatWriter};
pub use node::{Kind, Meta, Time, Xattrs};
pub use read::{Checked, check};
pub use stack::{Found, Node, Stack};
pub use subtree::put_subtree;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// What removes `NAME` of the layers below, as `.wh.NAME`.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// What empties its directory of everything that the layers below have in it.
pub const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
