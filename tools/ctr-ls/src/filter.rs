//! `--filter NAME=VALUE`, with docker's meaning: several of one name are alternatives, except for labels;
//! different names all have to hold.

use bundle::Found;
use std::str::FromStr;

#[derive(Debug, Clone)]
pub struct Filter {
    name: Subject,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Ancestor,
    Exited,
    Id,
    Label,
    Name,
    Status,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("invalid argument: want NAME=VALUE")?;
        let name = match name.trim().to_ascii_lowercase().as_str() {
            "ancestor" => Subject::Ancestor,
            "exited" if value.parse::<i32>().is_err() => return Err(format!("invalid exit code '{value}'")),
            "exited" => Subject::Exited,
            "id" => Subject::Id,
            "label" => Subject::Label,
            "name" => Subject::Name,
            "status" if !STATUSES.contains(&value) => return Err(format!("invalid value for status: '{value}'")),
            "status" => Subject::Status,
            other => return Err(format!("invalid filter '{other}'")),
        };
        Ok(Self { name, value: value.into() })
    }
}

const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "exited", "removing", "dead"];

impl Filter {
    /// Whether it is about containers that may not run.
    pub fn asks_for_status(&self) -> bool {
        matches!(self.name, Subject::Status | Subject::Exited)
    }

    fn holds(&self, found: &Found) -> bool {
        let value = self.value.as_str();
        match self.name {
            Subject::Ancestor => ancestor(found, value),
            Subject::Exited => found.exit.as_ref().is_some_and(|exit| Ok(exit.exit_code) == value.parse()),
            Subject::Id => found.meta.id.starts_with(value),
            Subject::Label => {
                let (name, wanted) = value.split_once('=').map_or((value, None), |(name, wanted)| (name, Some(wanted)));
                let label = found.meta.labels.get(name);
                label.is_some_and(|label| wanted.is_none_or(|wanted| label.as_str() == Some(wanted)))
            }
            // Docker takes a regular expression here; of those, a piece of the name, `^` and `$` are understood.
            Subject::Name => {
                let start = value.strip_prefix('^').map(|rest| rest.strip_prefix('/').unwrap_or(rest));
                let middle = start.unwrap_or(value);
                let end = middle.strip_suffix('$');
                let (name, middle) = (found.meta.name.as_str(), end.unwrap_or(middle));
                match (start.is_some(), end.is_some()) {
                    (true, true) => name == middle,
                    (true, false) => name.starts_with(middle),
                    (false, true) => name.ends_with(middle),
                    (false, false) => name.contains(middle),
                }
            }
            Subject::Status => crate::status::word(found.status) == value,
        }
    }
}

/// The image by name, with or without `:latest`, or by ID.
fn ancestor(found: &Found, value: &str) -> bool {
    let same_name = |image: &String| match (image.parse::<wire::Reference>(), value.parse::<wire::Reference>()) {
        (Ok(image), Ok(value)) => image == value,
        _ => image == value,
    };
    let same_id = |id: &String| {
        let bare = id.split_once(':').map_or(id.as_str(), |(_, hex)| hex);
        value.len() >= 4 && (id.starts_with(value) || bare.starts_with(value))
    };
    found.meta.image.as_ref().is_some_and(same_name) || found.meta.image_id.as_ref().is_some_and(same_id)
}

pub fn all_hold(filters: &[Filter], found: &Found) -> bool {
    filters.iter().all(|filter| {
        let same = filters.iter().filter(|other| other.name == filter.name);
        filter.holds(found) || filter.name != Subject::Label && same.into_iter().any(|other| other.holds(found))
    })
}
