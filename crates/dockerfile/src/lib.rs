//! The Dockerfile language, from bytes to a graph of stages: what is asked for, and nothing of how it is done.
//!
//! [`parse()`] makes statements of lines, [`Instruction::of`] gives them a meaning, [`words`] puts variables in, and
//! [`Graph`] joins the stages. [`Config`] is what the instructions without files change. [`Ignore`] reads `.dockerignore`, and [`lint()`] says what is no good
//! idea. The crate opens no file and runs nothing.
//!
//! The source of every rule is Docker's Dockerfile reference, and BuildKit's behaviour where that is silent.

#![forbid(unsafe_code)]

mod config;
mod graph;
pub mod ignore;
mod instruction;
mod lint;
mod mode;
mod mount;
mod parse;
pub mod words;

pub use config::{Config, absolute};
pub use graph::{Base, Graph, Stage, Step};
pub use ignore::{Ignore, Pattern};
pub use instruction::{Command, Copy, Healthcheck, Instruction, Network, Run, Security, duration};
pub use lint::{Around, Finding, Policy, lint};
pub use mode::Mode;
pub use mount::{Mount, MountKind, Sharing};
pub use parse::{File, Flag, Heredoc, LONGEST, Statement, at, parse};

/// Arguments that RUN sees without an ARG, and that change neither cache nor history (Dockerfile reference,
/// "Predefined ARGs").
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];
