//! What every tool's `main` does the same way: parse the arguments, read records, print results to a stdout
//! that is checked, and turn an error into one line and an exit code. No domain type lives here.

#![forbid(unsafe_code)]

mod failure;
mod input;
mod output;
mod places;

pub use failure::{Failure, Failures, WithHint, code_of, report, say, usage};
pub use input::{containers, one_record, read_records, read_secret, record_unbuffered};
pub use output::{Format, Out, refuse_terminal, terminal_width, widen_pipe};
pub use places::{layout_dir, root_dir, run_dir};

use clap::Parser;
use std::process::ExitCode;
use wire::exit;

/// The whole of a tool's `main`: parses the arguments, calls `run`, flushes and checks stdout, prints the error.
pub fn main<Args: Parser>(run: impl FnOnce(Args, &mut Out) -> anyhow::Result<()>) -> ExitCode {
    main_with_codes(exit::FAILED, exit::USAGE, |args, out| run(args, out).map(|()| exit::DONE))
}

/// [`main`] for a tool whose exit code is not only its own: ctr-spawn and ctr-exec answer `failed` and `usage`
/// with 125 and otherwise pass on what `run` returns.
pub fn main_with_codes<Args: Parser>(
    failed: u8,
    usage: u8,
    run: impl FnOnce(Args, &mut Out) -> anyhow::Result<u8>,
) -> ExitCode {
    places::is_roots();
    let name = Args::command().get_name().to_owned();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => return help_or_version(&error, failed),
        Err(error) => {
            failure::print_usage_error(&name, &error);
            return ExitCode::from(usage);
        }
    };
    let mut out = Out::stdout();
    let result = run(args, &mut out).and_then(|code| out.finish().map(|()| code));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::reader_went_away(&error) => ExitCode::from(exit::DONE),
        Err(error) => {
            failure::report(&name, &error);
            ExitCode::from(failure::code(&error, failed, usage))
        }
    }
}

fn help_or_version(text: &clap::Error, failed: u8) -> ExitCode {
    let mut out = Out::stdout();
    match out.text(&text.render().to_string()).and_then(|()| out.finish()) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) if output::reader_went_away(&error) => ExitCode::from(exit::DONE),
        Err(_) => ExitCode::from(failed),
    }
}
