//! subuid(5): `USER:FIRST:COUNT`, the user by name or by number, and as often as he has ranges.

use crate::{Error, Range, Result};
use std::fs;
use std::io::{self, ErrorKind};

/// The ranges of a user in `/etc/subuid` or `/etc/subgid`: first and count.
pub fn of(file: &'static str, uid: u32) -> Result<Vec<(u32, u32)>> {
    let name = name_of(uid);
    let text = fs::read_to_string(file).unwrap_or_default();
    let found = parse(&text, name.as_deref(), uid);
    if found.is_empty() { Err(Error::NoRange(file, name.unwrap_or_else(|| uid.to_string()))) } else { Ok(found) }
}

fn parse(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let who = fields.next()?;
        let mine = Some(who) == name || who.parse() == Ok(uid);
        let (first, count) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        (mine && count > 0).then_some((first, count))
    };
    text.lines().filter_map(line).collect()
}

/// The user himself is 0, and what he has follows.
pub fn mapped(own: u32, ranges: Vec<(u32, u32)>) -> Vec<Range> {
    let mut map = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut next = 1_u32;
    for (outside, count) in ranges {
        map.push(Range { inside: next, outside, count });
        let Some(after) = next.checked_add(count) else { break };
        next = after;
    }
    map
}

/// The lines of `/proc/PID/uid_map`.
pub(crate) fn in_force(file: &str) -> Result<Vec<Range>> {
    let failed = |cause| Error::Io(file.into(), cause);
    let text = fs::read_to_string(file).map_err(failed)?;
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some(Range { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    };
    let lines: Option<Vec<Range>> = text.lines().map(line).collect();
    lines.ok_or_else(|| failed(io::Error::new(ErrorKind::InvalidData, "malformed")))
}

/// passwd(5), and not NSS: a static program has none.
fn name_of(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_of_the_user_by_name_and_by_number() {
        let text = "bob:1000:10\nann:100000:65536\n7:200000:5\nann:9:0\nann:x:1\nann\n70:1:1\n";
        assert_eq!(parse(text, Some("ann"), 7), [(100_000, 65_536), (200_000, 5)]);
        assert_eq!(parse(text, None, 7), [(200_000, 5)]);
        assert_eq!(parse(text, Some("eve"), 8), []);
    }

    #[test]
    fn ranges_follow_each_other_inside() {
        let map = mapped(7, vec![(100, 10), (500, 20)]);
        let plain: Vec<_> = map.iter().map(|range| (range.inside, range.outside, range.count)).collect();
        assert_eq!(plain, [(0, 7, 1), (1, 100, 10), (11, 500, 20)]);
        assert_eq!(mapped(7, vec![(100, u32::MAX), (500, 20)]).len(), 2, "there are no IDs behind the last");
    }
}
