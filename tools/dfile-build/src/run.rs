//! RUN: the pipeline that anybody can type, one process a step:
//!
//! ```sh
//! img-unpack --overlay IMAGE box | ctr-spec --entrypoint '' -- /bin/sh -c 'make install' | ctr-spawn
//! layer-diff --layout L <box/bundle.json | img-append --base IMAGE --layers-from -
//! ```

use crate::board::lock;
use crate::builder::Builder;
use crate::mounts::Made;
use crate::siblings;
use crate::state::State;
use crate::{cache, copies};
use anyhow::{Context, bail};
use dockerfile::{Run, Security};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use toolkit::WithHint;
use wire::Record;

/// BuildKit's: the same on every machine, so that it changes no layer.
const HOSTNAME: &str = "buildkitsandbox";

impl Builder<'_> {
    pub(crate) fn run(&mut self, state: &mut State, run: &Run, original: &str, stage: usize) -> anyhow::Result<()> {
        let argv = state.config.argv(&run.command);
        let args = state.declared();
        let (planned, mounts) = self.plan_mounts(state, run, stage)?;
        let insecure = run.security == Security::Insecure;
        let values = state.values.clone();
        let hostname = self.build.wishes.builtin.hostname.as_deref();
        let inputs = |mounts: &[Value]| match hostname {
            None => json!(["run", argv, run.script, args, values, mounts, insecure]),
            Some(name) => json!(["run", argv, run.script, args, values, mounts, insecure, name]),
        };
        let mut key = self.key(state, &inputs(&mounts));
        let turn = self.shared.board.turn(key.as_str());
        let _mine = lock(&turn);
        if self.take_cached(state, &key)? {
            self.repeat_copies(original, &key);
            return Ok(());
        }
        let mut by_image = None;
        if let Some(mounts) = self.mounts_by_content(&planned, &mounts)? {
            let by_content = self.key(state, &inputs(&mounts));
            by_image = Some(std::mem::replace(&mut key, by_content));
            if self.take_cached(state, &key)? {
                self.repeat_copies(original, &key);
                return self.pin_also(by_image.as_ref(), &key);
            }
        }
        let image = self.record(state).context("FROM scratch has nothing that could run")?;
        let mut workshop = Workshop::open(self.build.siblings.root(), key.short())?;
        let bundle = self.unpack(&image, &workshop)?;
        let made = self.make_mounts(&planned, &workshop)?;
        let bundle = self.specify(state, run, &argv, &bundle, &workshop, &made)?;
        let bundle = add_stubs(bundle, &made)?;
        self.spawn(original, state, &mut workshop, &made)?;
        drop(made);
        let mut diff = self.build.siblings.on_layout("layer-diff");
        let layer = siblings::transform(&mut diff, Some(&bundle))?;
        let entry = json!({"created_by": history(&args, &argv)});
        let mut append = self.append(state, Some(&entry), &key)?;
        let record = siblings::transform(append.args(["--layers-from", "-"]), Some(&layer))?;
        state.advance(record)?;
        if let Some(copied) = copies::of_layer(&layer) {
            self.report_copies(original, copied);
            cache::keep_copied(&self.build.layout, &key, copied)?;
        }
        self.pin_also(by_image.as_ref(), &key)?;
        self.progress.done();
        Ok(())
    }

    fn unpack(&self, image: &Record, workshop: &Workshop) -> anyhow::Result<Record> {
        let mut command = self.build.siblings.on_layout("img-unpack");
        command.arg("--root").arg(self.build.siblings.root()).arg("--overlay").arg(workshop.bundle());
        siblings::transform(&mut command, Some(image))
    }

    /// The environment is what the image says and the ARGs in scope, and nothing of ours (CVE-2021-3602).
    fn specify(
        &mut self,
        state: &State,
        run: &Run,
        argv: &[String],
        bundle: &Record,
        workshop: &Workshop,
        made: &Made,
    ) -> anyhow::Result<Record> {
        let mut command = self.build.siblings.command("ctr-spec");
        let hostname = self.build.wishes.builtin.hostname.as_deref().unwrap_or(HOSTNAME);
        command.args(["--entrypoint", "", "--workdir", state.config.working_dir(), "--hostname", hostname]);
        self.build.wishes.running.specify(&mut command, run.network, run.security)?;
        made.specify(&mut command);
        for (name, value) in self.proxies().iter().chain(&state.environment()) {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        if !state.config.user().is_empty() {
            command.args(["--user", state.config.user()]);
        }
        if let Some((name, text)) = &run.script {
            let script = workshop.path().join("script");
            fs::write(&script, text).with_context(|| format!("{}: write", script.display()))?;
            fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
            command.arg("--volume").arg(format!("{}:/dev/pipes/{name}:ro", script.display()));
        }
        siblings::transform(command.arg("--").args(argv), Some(bundle))
    }

    fn spawn(&self, original: &str, state: &State, workshop: &mut Workshop, made: &Made) -> anyhow::Result<()> {
        let (reader, writer) = io::pipe().context("pipe2")?;
        let mut command = self.build.siblings.command("ctr-spawn");
        // A build that is stopped or killed leaves no RUN behind.
        command.arg("--die-with-parent").arg(std::process::id().to_string());
        made.give_variables(&mut command);
        command.arg(workshop.bundle()).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().context("ctr-spawn: execve")?;
        // The pipe ends when nobody writes any more, so our own ends go.
        drop(command);
        self.shared.board.watch(self.number, child.id());
        let kept = self.progress.copy(reader);
        let status = child.wait()?;
        self.shared.board.forget(self.number);
        if status.success() {
            return Ok(());
        }
        self.shared.board.go_on()?;
        self.progress.show(&kept);
        made.keep(workshop)?;
        workshop.keep();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let line = original.lines().next().unwrap_or_default();
        let shell = match &state.config.shell()[..] {
            [own, ..] if own != "/bin/sh" => quoted(own),
            _ => "sh".into(),
        };
        let bundle = quoted(&workshop.bundle().to_string_lossy());
        let spawn = quoted(&self.build.siblings.as_typed("ctr-spawn").to_string_lossy());
        let enter = format!("the state is kept; enter it with: {spawn} -t {bundle} -- {shell}");
        Err(anyhow::anyhow!("{line}: exit code {code}")).hint(|| enter)
    }
}

/// Places to mount on are there before the command starts, and no change of it.
fn add_stubs(bundle: Record, made: &Made) -> anyhow::Result<Record> {
    let Record::Bundle(mut bundle) = bundle else { bail!("ctr-spec: not a bundle record") };
    bundle::add_init_layer_with(&mut bundle, &made.stubs)?;
    Ok(Record::Bundle(bundle))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&b);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// BuildKit's words: arguments in front, then the command as it is executed.
fn history(args: &[(String, String)], argv: &[String]) -> String {
    let mut words = vec!["RUN".to_owned()];
    if !args.is_empty() {
        words.push(format!("|{}", args.len()));
        words.extend(args.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend_from_slice(argv);
    format!("{} # buildkit", words.join(" "))
}

/// The directory in which one RUN happens, below `cache/failed`. It goes with the value; the state of a RUN
/// that failed stays until another RUN starts. A lock tells what is in use from what somebody left behind.
#[derive(Debug)]
pub struct Workshop {
    path: PathBuf,
    kept: bool,
    _lock: File,
}

impl Workshop {
    fn open(root: &Path, name: &str) -> anyhow::Result<Self> {
        let failed = root.join("cache").join("failed");
        private_dir(&failed)?;
        // Nobody sweeps between the making of our directory and its lock.
        let door = File::open(&failed).with_context(|| format!("{}: open", failed.display()))?;
        rustix::fs::flock(&door, FlockOperation::LockExclusive)
            .with_context(|| format!("{}: flock", failed.display()))?;
        sweep(&failed);
        let path = failed.join(format!("{name}-{}", std::process::id()));
        private_dir(&path)?;
        let lock = File::open(&path).with_context(|| format!("{}: open", path.display()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{}: flock", path.display()))?;
        Ok(Self { path, kept: false, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn bundle(&self) -> PathBuf {
        self.path.join("box")
    }

    fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if !self.kept {
            // Of an overlay its owner may not look into everything.
            let _ = bundle::remove_tree(&self.path);
        }
    }
}

/// Removes what no living build has locked.
pub fn sweep(failed: &Path) {
    let Ok(entries) = fs::read_dir(failed) else { return };
    for entry in entries.flatten() {
        let Ok(dir) = File::open(entry.path()) else { continue };
        if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = bundle::remove_tree(&entry.path());
        }
    }
}

/// Only its owner looks into it.
pub fn private_dir(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("{}: mkdir", path.display()))?;
    if !path.is_dir() {
        bail!("{}: is not a directory", path.display());
    }
    Ok(())
}
