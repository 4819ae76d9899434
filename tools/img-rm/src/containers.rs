//! Which containers use which image.

use anyhow::Context;
use bundle::{Containers, Found};
use std::path::Path;
use wire::{Digest, Status};

/// The containers below the root.
#[derive(Debug)]
pub struct Users(Vec<User>);

/// One container, as far as its image goes.
#[derive(Debug)]
pub struct User {
    id: String,
    /// The digest of the configuration, or of the manifest.
    image: Vec<String>,
    pub lives: bool,
}

impl User {
    /// Twelve digits, as docker shows them.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

impl Users {
    /// Looks at every container; none is there when the root is not.
    pub fn of(root: &Path, run: &Path) -> anyhow::Result<Self> {
        let found = Containers::new(root, run).list().context("containers")?;
        Ok(Self(found.into_iter().map(user).collect()))
    }

    /// A container that uses the image, one that lives before one that does not.
    pub fn of_image(&self, id: &Digest, manifest: &Digest) -> Option<&User> {
        let (id, manifest) = (id.to_string(), manifest.to_string());
        let uses = |user: &&User| user.image.contains(&id) || user.image.contains(&manifest);
        self.0.iter().filter(uses).max_by_key(|user| user.lives)
    }
}

fn user(found: Found) -> User {
    let manifest = bundle::load(&found.dir).ok().and_then(|bundle| bundle.image).map(|image| image.descriptor.digest);
    let image = found.meta.image_id.into_iter().chain(manifest.map(|digest| digest.to_string())).collect();
    let lives = matches!(found.status, Status::Running | Status::Paused | Status::Restarting);
    User { id: found.meta.id, image, lives }
}
