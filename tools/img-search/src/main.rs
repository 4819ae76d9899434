//! A registry can say what it has. The tags of a repository are a page of JSON, and a header leads to the next
//! page; searching is no part of the standard: docker's index answers at /v1/search, others have a catalogue at best:
//!
//! ```sh
//! curl -s http://127.0.0.1:5000/v2/app/tags/list | jq -r '.tags[]'
//! curl -s 'https://index.docker.io/v1/search?q=alpine&n=25' | jq -r '.results[].name'
//! curl -s http://127.0.0.1:5000/v2/_catalog | jq -r '.repositories[]' | grep app
//! ```
//!
//! Read the OCI distribution specification, "Content Discovery", and docker-search(1).

#![forbid(unsafe_code)]

mod shown;

use anyhow::Context;
use clap::Parser;
use registry::Settings;
use serde_json::json;
use shown::Filter;
use std::process::ExitCode;
use toolkit::{Out, usage};
use wire::Reference;

/// List tags of a repository, or search for repositories
#[derive(Debug, Parser)]
#[command(name = "img-search", version, about)]
struct Args {
    /// What to search for: [HOST[:PORT]/]WORD; with --tags a repository
    #[arg(value_name = "TERM")]
    term: String,
    /// List the tags of the repository TERM
    #[arg(long, conflicts_with = "limit")]
    tags: bool,
    /// At most so many repositories
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Do not shorten descriptions
    #[arg(long)]
    no_trunc: bool,
    /// Only repositories that match: is-official=BOOL, stars=N; with several all must match
    #[arg(short, long, value_name = "KEY=VALUE", conflicts_with = "tags")]
    filter: Vec<Filter>,
    /// As docker shows them instead of our objects: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Speak plain HTTP to the registry
    #[arg(long)]
    plain_http: bool,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "toolkit::main gives them away")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let mut settings = Settings::of_environment(|name| std::env::var_os(name))?;
    settings.plain_http = args.plain_http;
    if args.tags { tags(&args, &settings, out) } else { search(&args, &settings, out) }
}

fn tags(args: &Args, settings: &Settings, out: &mut Out) -> anyhow::Result<()> {
    let repository: Reference = args.term.parse().map_err(|error: wire::ReferenceError| usage(error.to_string()))?;
    if args.term.contains('@') || args.term.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        return Err(usage("--tags takes a repository, without tag and digest"));
    }
    let client = settings.client(repository.host(), warn)?;
    let tags = client.tags(repository.path()).with_context(|| args.term.clone())?;
    if let Some(format) = &args.format {
        return out.text(&shown::tags(format, &repository.familiar_repository(), &tags)?);
    }
    for tag in tags {
        out.text(&format!("{}\n", json!({"ref": format!("{}:{tag}", repository.repository()), "tag": tag})))?;
    }
    Ok(())
}

fn search(args: &Args, settings: &Settings, out: &mut Out) -> anyhow::Result<()> {
    let (host, word) = split(&args.term);
    // Docker Hub's registry knows no search; its index does.
    let client = settings.client(if host == "docker.io" { "index.docker.io" } else { host }, warn)?;
    let mut found = client.search(word, args.limit).with_context(|| args.term.clone())?;
    found.retain(|found| args.filter.iter().all(|filter| filter.lets(found)));
    if host != "docker.io" {
        for found in &mut found {
            found.name = format!("{host}/{}", found.name);
        }
    }
    if let Some(format) = &args.format {
        return out.text(&shown::found(format, &found, args.no_trunc)?);
    }
    for found in &found {
        let line = json!({"name": found.name, "description": found.description, "stars": found.stars, "official": found.official});
        out.text(&format!("{line}\n"))?;
    }
    Ok(())
}

/// What stands before the first slash is a host when a reference would take it for one.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, word)) if host == "localhost" || host.contains(['.', ':']) => (host, word),
        _ => ("docker.io", term),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a callback")]
fn warn(warning: String) {
    toolkit::say(&format!("img-search: {warning}"));
}
