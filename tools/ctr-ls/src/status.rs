//! The columns of `docker ps`, with docker's words for times.

use bundle::Found;
use jiff::Timestamp;
use wire::Status;

const COLUMNS: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
/// Docker cuts the quoted command here.
const COMMAND_WIDTH: usize = 20;

pub fn render(listed: &[Found], whole: bool) -> String {
    let now = Timestamp::now();
    let rows: Vec<_> = listed.iter().map(|found| row(found, whole, now)).collect();
    table::columns(COLUMNS, &rows)
}

fn row(found: &Found, whole: bool, now: Timestamp) -> [String; 7] {
    let meta = &found.meta;
    let id = if whole { meta.id.clone() } else { meta.id[..12].to_owned() };
    let mut image = meta.image.clone().unwrap_or_default();
    if !whole && image.starts_with("sha256:") {
        image = image.chars().skip(7).take(12).collect();
    }
    let created = format!("{} ago", since(&meta.created, now));
    [id, image, command(&meta.command, whole), created, status(found, now), String::new(), meta.name.clone()]
}

fn command(words: &[String], whole: bool) -> String {
    let line: String = words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{}\"", if whole { line } else { table::clip(&line, COMMAND_WIDTH) })
}

fn status(found: &Found, now: Timestamp) -> String {
    let started = || found.started_at().map_or_else(|| "some time".into(), |at| since(at, now));
    match (found.status, &found.exit) {
        (Status::Running, _) => format!("Up {}", started()),
        (Status::Paused, _) => format!("Up {} (Paused)", started()),
        (Status::Exited, Some(exit)) => format!("Exited ({}) {} ago", exit.exit_code, since(&exit.finished_at, now)),
        // Its keeper was killed: nobody saw how it ended. Docker says 255 then.
        (Status::Exited, None) => "Exited (255)".into(),
        (Status::Created, _) => "Created".into(),
        (Status::Restarting, _) => "Restarting".into(),
        (Status::Removing, _) => "Removal In Progress".into(),
        (Status::Dead, _) => "Dead".into(),
    }
}

/// The word that records and filters use.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Restarting => "restarting",
        Status::Exited => "exited",
        Status::Removing => "removing",
        Status::Dead => "dead",
    }
}

/// A time in the past in docker's words.
fn since(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => table::duration(u64::try_from(now.as_second() - at.as_second()).unwrap_or(0)),
        Err(_) => "some time".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_and_cut() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(Into::into).collect() };
        assert_eq!(command(&words("sh -c true"), false), "\"sh -c true\"");
        assert_eq!(command(&words("12345678901234567890"), false), "\"12345678901234567890\"");
        assert_eq!(command(&words("123456789012345678901"), false), "\"1234567890123456789…\"");
        assert_eq!(command(&words("123456789012345678901"), true), "\"123456789012345678901\"");
        assert_eq!(command(&["a\nb\u{1b}[0m".into()], false), "\"a b [0m\"");
    }
}
