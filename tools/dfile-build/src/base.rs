//! FROM: the state that a stage begins with, and what its base left to be done by its children.

use crate::board::lock;
use crate::builder::Builder;
use crate::cache;
use crate::copying::Found;
use crate::siblings;
use crate::state::State;
use anyhow::bail;
use dockerfile::{Base, Config, Instruction, Step, parse};
use oci_layout::OpenImage;
use wire::{Platform, Record};

impl Builder<'_> {
    /// FROM.
    pub fn start(&mut self, base: &Base, platform: Option<&str>) -> anyhow::Result<State> {
        let platform = platform.map(str::parse::<Platform>).transpose()?.or_else(|| self.variant.platform.clone());
        let mut state = State { config: Config::scratch(), platform, ..State::nothing() };
        match base {
            Base::Scratch => self.progress.cached(),
            Base::Stage(earlier) => {
                state = self.built(*earlier)?;
                state.config.begin_stage();
                self.progress.cached();
            }
            Base::Image(name) => {
                let was_there = !self.build.wishes.args.caching.pull && self.build.layout.find(name).is_ok();
                let image = self.base_image(name, state.platform.as_ref())?;
                if was_there {
                    self.progress.cached();
                } else {
                    self.progress.done();
                }
                state.config = Config::of_image(&image.config);
                state.image = Some(image.descriptor);
            }
            Base::Context(name) => {
                let Found::Image(image) = self.named(name)? else {
                    bail!("{name}: a directory is no base: COPY --from={name} takes files of it");
                };
                state.config = Config::of_image(&image.config);
                state.image = Some(image.descriptor);
            }
        }
        Ok(state)
    }

    /// From the store when it is there, else pulled.
    pub fn base_image(&self, name: &str, platform: Option<&Platform>) -> anyhow::Result<OpenImage> {
        let what = format!("{name} {}", platform.map(ToString::to_string).unwrap_or_default());
        let turn = self.shared.board.turn(&what);
        let _mine = lock(&turn);
        let is_new = lock(&self.shared.pulled).contains(&what);
        // An image for another machine is kept beside the name, which stays this machine's.
        let pin = platform.filter(|platform| !platform.accepts(&Platform::host())).map(|_| cache::base(&what));
        let pinned = || self.build.layout.pinned(pin.as_deref()?).ok().flatten();
        let found = self.build.layout.find(name).and_then(|found| self.build.layout.open_image(&found, platform));
        let stored = found.or_else(|error| match pinned() {
            Some(found) => self.build.layout.open_image(&found, platform),
            None => Err(error),
        });
        if let Ok(image) = stored
            && (is_new || !self.build.wishes.args.caching.pull)
        {
            return Ok(image);
        }
        self.may_make()?;
        let mut command = self.build.siblings.on_layout("img-pull");
        if let Some(platform) = platform {
            command.arg("--platform").arg(platform.to_string());
        }
        if let Some(key) = &pin {
            command.arg("--pin").arg(key);
        }
        let Record::Image(image) = siblings::transform(command.arg("--").arg(name), None)? else {
            bail!("img-pull: not an image record");
        };
        lock(&self.shared.pulled).insert(what);
        Ok(self.build.layout.open_image(&image.descriptor, platform)?)
    }

    /// ONBUILD of the base runs as if it stood after FROM. Each trigger is a file of its own.
    pub fn triggers(state: &mut State, line: usize) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for text in state.config.take_onbuild() {
            let file = parse(text.as_bytes(), "ONBUILD")?;
            for statement in file.statements {
                let instruction = Instruction::of(&statement, file.escape)?;
                steps.push(Step { line, original: statement.original, instruction });
            }
        }
        Ok(steps)
    }
}
