//! What a container is doing, in docker's words.

use bundle::Found;
use bundle::keeper::Health;
use jiff::Timestamp;
use wire::Status;

/// `Up 5 minutes (healthy)`.
pub fn text(found: &Found, now: Timestamp) -> String {
    let started = || found.started_at().map_or_else(|| "some time".into(), |at| since(at, now));
    match (found.status, &found.exit) {
        (Status::Running, _) => match health(found).as_ref().map(|health| health.status.as_str()) {
            None | Some("none") => format!("Up {}", started()),
            Some("starting") => format!("Up {} (health: starting)", started()),
            Some(health) => format!("Up {} ({health})", started()),
        },
        (Status::Paused, _) => format!("Up {} (Paused)", started()),
        (Status::Exited, Some(exit)) => format!("Exited ({}) {} ago", exit.exit_code, since(&exit.finished_at, now)),
        // Its keeper was killed: nobody saw how it ended. Docker says 255 then.
        (Status::Exited, None) => "Exited (255)".into(),
        (Status::Created, _) => "Created".into(),
        (Status::Restarting, Some(exit)) => {
            format!("Restarting ({}) {} ago", exit.exit_code, since(&exit.finished_at, now))
        }
        (Status::Restarting, None) => "Restarting".into(),
        (Status::Removing, _) => "Removal In Progress".into(),
        (Status::Dead, _) => "Dead".into(),
    }
}

/// How its health is, when that is probed. One that has ended is unhealthy, says docker.
pub fn health(found: &Found) -> Option<Health> {
    let probed =
        || found.meta.keeping().healthcheck.is_some_and(|check| check.test.first().is_some_and(|how| how != "NONE"));
    let ended = || Health { status: "unhealthy".into(), failing_streak: 0, log: Vec::new() };
    found.health().cloned().or_else(|| (found.status == Status::Exited && probed()).then(ended))
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
pub fn since(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => table::duration(u64::try_from(now.as_second() - at.as_second()).unwrap_or(0)),
        Err(_) => "some time".into(),
    }
}
