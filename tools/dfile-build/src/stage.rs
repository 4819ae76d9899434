//! The stages of a target: side by side where they can, each from its FROM to its last instruction.

use crate::board::Cancelled;
use crate::builder::Builder;
use crate::cache::Damaged;
use crate::state::State;
use dockerfile::{Instruction, at};
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::thread;
use wire::Descriptor;

impl Builder<'_> {
    /// Builds the stages that the target needs; the answer is the target's image.
    pub fn build(&mut self, target: usize) -> anyhow::Result<Descriptor> {
        match &self.variant.graph.needed(target)?[..] {
            [only] => self.of_stage(*only).whole(*only)?,
            several => self.side_by_side(several)?,
        }
        let labels = &self.build.wishes.labels;
        if !labels.is_empty() {
            // As in BuildKit, without a line in the history.
            let mut state = self.shared.board.wait(target)?;
            state.config.apply(&Instruction::Label(labels.clone()))?;
            state.stale = true;
            self.shared.board.put(target, state);
        }
        self.image_of(target)
    }

    /// A thread for each stage; of the errors the one that came first.
    fn side_by_side(&self, stages: &[usize]) -> anyhow::Result<()> {
        let results: Vec<_> = thread::scope(|scope| {
            let start = |index: &usize| {
                let (mut builder, index) = (self.of_stage(*index), *index);
                scope.spawn(move || builder.whole(index))
            };
            let threads: Vec<_> = stages.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let mut errors: Vec<anyhow::Error> = results.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(anyhow::Error::is::<Cancelled>);
        match errors.into_iter().next() {
            Some(first) => Err(first),
            None => Ok(()),
        }
    }

    fn whole(&mut self, index: usize) -> anyhow::Result<()> {
        let mut built = self.stage(index);
        if built.as_ref().is_err_and(anyhow::Error::is::<Damaged>) {
            self.progress.words("note: the cache is damaged: what is not whole in it is built again");
            self.careful = true;
            built = self.stage(index);
        }
        match built {
            Ok(state) => {
                self.shared.board.put(index, state);
                Ok(())
            }
            Err(error) => {
                self.shared.board.fail();
                Err(error)
            }
        }
    }

    fn stage(&mut self, index: usize) -> anyhow::Result<State> {
        let graph = &self.variant.graph;
        let stage = &graph.stages[index];
        let name = match (&stage.name, graph.stages.len()) {
            (Some(name), _) => format!("{}{name} ", self.head),
            (None, 1) => self.head.clone(),
            (None, _) => format!("{}stage-{index} ", self.head),
        };
        let total = 1 + stage.steps.iter().filter(|step| step.makes_files()).count();
        self.progress.begin(&format!("[{name}1/{total}] {}", stage.original));
        let mut state = at(self.start(&stage.base, stage.platform.as_deref()), &graph.file, stage.line)?;
        let triggers = at(Self::triggers(&mut state, stage.line), &graph.file, stage.line)?;
        let mut number = 1;
        for (done, step) in triggers.iter().chain(&stage.steps).enumerate() {
            self.passed = done.saturating_sub(triggers.len());
            if step.makes_files() {
                number += 1;
                self.progress.begin(&format!("[{name}{number}/{}] {}", total.max(number), step.original));
            }
            self.shared.board.go_on()?;
            if let Err(error) = self.step(&mut state, step, index) {
                if error.is::<Cancelled>() || error.is::<Damaged>() {
                    return Err(error);
                }
                self.progress.failed(&format!("{error:#}"));
                return at(Err(error), &graph.file, step.line);
            }
        }
        if !self.looks_only {
            self.prove()?;
        }
        self.passed = stage.steps.len();
        Ok(state)
    }

    /// How many steps of each stage the cache has, from the first on. Nothing is made, fetched or written.
    pub fn cached_steps(&mut self, stages: &[usize]) -> HashMap<usize, usize> {
        let count = |index: &usize| {
            let mut builder = self.of_stage(*index);
            (builder.looks_only, builder.careful) = (true, true);
            if let Ok(state) = builder.stage(*index) {
                self.shared.board.put(*index, state);
            }
            (*index, builder.passed)
        };
        stages.iter().map(count).collect()
    }

    /// Another stage at its end.
    pub fn built(&self, stage: usize) -> anyhow::Result<State> {
        let ready = self.shared.board.built(stage);
        if ready.is_none() {
            self.may_make()?;
        }
        ready.map_or_else(|| self.shared.board.wait(stage), Ok)
    }
}
