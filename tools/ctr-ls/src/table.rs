//! The columns of `docker ps`, with docker's words for times.

use bundle::Found;
use jiff::Timestamp;
use wire::Status;

const COLUMNS: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
/// Docker cuts the quoted command here.
const COMMAND_WIDTH: usize = 20;

pub fn render(listed: &[Found], whole: bool) -> String {
    let now = Timestamp::now();
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(listed.iter().map(|found| row(found, whole, now)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}   "));
        text.push_str(padded.collect::<String>().trim_end());
        text.push('\n');
    }
    text
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
    let cut = match line.char_indices().nth(COMMAND_WIDTH - 1) {
        Some((end, _)) if !whole && line.chars().count() > COMMAND_WIDTH => format!("{}…", &line[..end]),
        _ => line,
    };
    format!("\"{cut}\"")
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
        Ok(at) => duration((now.as_second() - at.as_second()).max(0)),
        Err(_) => "some time".into(),
    }
}

fn duration(seconds: i64) -> String {
    let hours = (seconds + 1800) / 3600;
    match (seconds, seconds / 60, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, minutes @ ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".into(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_words_for_times() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(duration(seconds), want, "{seconds}");
        }
    }

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
