//! A build for one platform: the graph of the Dockerfile as that platform's arguments make it.

use crate::args::Wishes;
use dockerfile::{File, Graph};
use std::collections::BTreeMap;
use wire::Platform;

/// One of the platforms that a build is for.
#[derive(Debug)]
pub struct Variant {
    /// None where nobody named one.
    pub platform: Option<Platform>,
    /// TARGET… and BUILD… arguments.
    pub args: BTreeMap<String, String>,
    pub graph: Graph,
}

impl Variant {
    /// One for each platform that is asked for.
    pub fn all(file: &File, wishes: &Wishes) -> anyhow::Result<Vec<Self>> {
        let of = |platform: Option<Platform>| {
            let args = platform_args(platform.as_ref());
            let contexts = wishes.contexts.keys().cloned().collect();
            let graph = Graph::of(file, &wishes.build_args, &args, contexts)?;
            Ok(Self { platform, args, graph })
        };
        wishes.platforms().into_iter().map(of).collect()
    }
}

/// The arguments of the reference's "automatic platform ARGs".
fn platform_args(target: Option<&Platform>) -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut args = BTreeMap::new();
    for (side, platform) in [("TARGET", target.unwrap_or(&host)), ("BUILD", &host)] {
        args.insert(format!("{side}PLATFORM"), platform.to_string());
        args.insert(format!("{side}OS"), platform.os.clone());
        args.insert(format!("{side}ARCH"), platform.architecture.clone());
        args.insert(format!("{side}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    args
}
