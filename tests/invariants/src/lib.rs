//! What must hold for any bytes that a stranger sends: one function a parser, with its invariant on top.
//!
//! Each takes bytes and panics when the invariant is broken. Two things call them: `make fuzz`, where libFuzzer
//! looks for such bytes, and the test in `tests/`, which goes over the seeds and some thousand changed seeds.

mod docker_config;
mod dockerfile;
mod image_config;
mod layer;
mod manifest;
mod template;
mod text;

pub use docker_config::docker_config;
pub use dockerfile::{dockerfile, ignore};
pub use image_config::image_config;
pub use layer::layer;
pub use manifest::manifest;
pub use template::template;
pub use text::{record, reference};

/// Splits the input at zero bytes: what the parsers of several documents take.
fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut pieces = input.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}
