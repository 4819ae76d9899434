//! A login is no session: it is one request that shows that the password is right, and an entry in a file, which
//! every later request is sent with:
//!
//! ```sh
//! curl -sf -u me:secret https://registry.example/v2/ >/dev/null && (umask 077
//!     jq --arg auth "$(printf me:secret | base64)" '.auths["registry.example"] = {$auth}' ~/.docker/config.json >new
//!     mv new ~/.docker/config.json)
//! ```
//!
//! base64 hides nothing: who can read the file has the password. A credential helper, named in the file as
//! `credsStore` or in `credHelpers`, keeps it elsewhere. Read docker-login(1), and the protocol of
//! docker-credential-helpers.

#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use clap::Parser;
use registry::{ConfigFile, Credentials, Settings, Stored};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use toolkit::{Out, usage};

/// Keep, or forget, the credentials of a registry
#[derive(Debug, Parser)]
#[command(name = "img-login", version, about)]
struct Args {
    /// The registry: HOST[:PORT]
    #[arg(value_name = "SERVER", default_value = "docker.io", hide_default_value = true)]
    server: String,
    /// The user
    #[arg(short, long)]
    username: Option<String>,
    /// The password; everybody on this machine can see it there
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Forget the credentials instead
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    logout: bool,
    /// Speak plain HTTP to the registry
    #[arg(long)]
    plain_http: bool,
}

fn main() -> ExitCode {
    toolkit::main(run)
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<()> {
    let host = host(&args.server)?;
    let mut settings = Settings::of_environment(|name| std::env::var_os(name))?;
    settings.plain_http = args.plain_http;
    let path = settings.login_file.clone().context("neither DOCKER_CONFIG nor HOME is set")?;
    let mut config = ConfigFile::read(&path)?;
    if args.logout {
        let found = config.erase(&host)?;
        let what = if found { "Removing login credentials for" } else { "Not logged in to" };
        // Docker's name for its own registry here.
        let called = if host == "docker.io" { "https://index.docker.io/v1/" } else { &host };
        return out.text(&format!("{what} {called}\n"));
    }
    let (user, password) = ask(args)?;
    let credentials = Credentials::Basic { user: user.clone(), password: password.clone() };
    settings.client_as(&host, Some(credentials))?.check().with_context(|| host.clone())?;
    let stored = config.store(&host, &user, &password)?;
    if stored == Stored::File {
        toolkit::say(&format!(
            "img-login: the password is not encrypted in {}; a credential helper would keep it",
            path.display()
        ));
    }
    out.text("Login Succeeded\n")
}

/// `https://registry.example/` as people paste it; nothing else of a URL has a place in it.
fn host(server: &str) -> anyhow::Result<String> {
    let bare = server.strip_prefix("https://").or(server.strip_prefix("http://")).unwrap_or(server);
    let bare = bare.trim_end_matches('/');
    match bare {
        "index.docker.io" | "index.docker.io/v1" | "registry-1.docker.io" => Ok("docker.io".into()),
        _ if bare.is_empty() || bare.contains(['/', '@', '?', '#']) || bare.contains(char::is_whitespace) => {
            Err(usage(format!("{server:?} is not a registry host")))
        }
        _ => Ok(bare.into()),
    }
}

/// User and password: from the command line, from stdin, or from a person at a terminal.
fn ask(args: Args) -> anyhow::Result<(String, String)> {
    if args.password_stdin {
        let user = args.username.ok_or_else(|| usage("Must provide --username with --password-stdin"))?;
        return checked(user, toolkit::read_secret(Path::new("-"))?);
    }
    if let (Some(user), Some(password)) = (&args.username, &args.password) {
        let pair = checked(user.clone(), password.clone())?;
        toolkit::say("img-login: using --password via the CLI is insecure; use --password-stdin");
        return Ok(pair);
    }
    if !std::io::stdin().is_terminal() {
        bail!("cannot perform an interactive login from a non TTY device");
    }
    let user = args.username.map_or_else(|| line("Username: ", true), Ok)?;
    let password = args.password.map_or_else(|| line("Password: ", false), Ok)?;
    checked(user, password)
}

fn checked(user: String, password: String) -> anyhow::Result<(String, String)> {
    if user.is_empty() || password.is_empty() {
        return Err(usage("user and password must not be empty"));
    }
    // In the header, the first colon ends the user.
    if user.contains(':') || user.contains(char::is_control) || password.contains(char::is_control) {
        return Err(usage("no colon in the user, no control characters in user and password"));
    }
    Ok((user, password))
}

/// One line from the terminal; without `echo` nobody reads it over a shoulder.
fn line(prompt: &str, echo: bool) -> anyhow::Result<String> {
    let (stdin, mut text) = (std::io::stdin(), String::new());
    let _ = write!(std::io::stderr(), "{prompt}");
    let before = tcgetattr(&stdin).context("terminal")?;
    if !echo {
        let mut silent = before.clone();
        silent.local_modes &= !LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Flush, &silent).context("terminal")?;
    }
    let read = stdin.lock().read_line(&mut text);
    if !echo {
        tcsetattr(&stdin, OptionalActions::Flush, &before).context("terminal")?;
        toolkit::say("");
    }
    read.context("<stdin>")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
