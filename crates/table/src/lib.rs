//! Columns, ages and sizes as docker prints them, so that a script written for docker's output reads ours.
//! The crate knows no clock: an age is given in seconds.

#![forbid(unsafe_code)]

const NARROWEST: usize = 10;
const GAP: usize = 3;

/// Rows below headings, each column as wide as its widest cell and three blanks, the last one ragged.
pub fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let wide = |cell: &String| cell.chars().count();
    let widths: Vec<usize> =
        (0..N).map(|i| all().map(|row| wide(&row[i])).max().unwrap_or(0).saturating_add(GAP).max(NARROWEST)).collect();
    let mut text = String::new();
    for row in all() {
        for (i, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if i + 1 < N {
                text.extend(std::iter::repeat_n(' ', widths[i] - wide(cell)));
            }
        }
        text.push('\n');
    }
    text
}

/// Cells that are separated by tabs, in columns as [`columns`] has them. As in Go's tabwriter, a column goes on as
/// long as every line has a tab behind its cell there, and a cell that no tab ends belongs to no column.
pub fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    for column in 0..lines.iter().map(Vec::len).max().unwrap_or(0) {
        let mut start = 0;
        while start < lines.len() {
            let block = lines[start..].iter().take_while(|cells| cells.len() > column + 1).count();
            let widest =
                lines[start..start + block].iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
            for line in &mut widths[start..start + block] {
                line[column] = widest.saturating_add(GAP).max(NARROWEST);
            }
            start += block.max(1);
        }
    }
    let mut aligned = String::with_capacity(text.len() * 2);
    for (at, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if at > 0 {
            aligned.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            aligned.push_str(cell);
            let blanks = widths.get(column).map_or(0, |width| width.saturating_sub(cell.chars().count()));
            aligned.extend(std::iter::repeat_n(' ', blanks));
        }
    }
    aligned
}

/// `7.8MB`: powers of 1000, three significant digits.
pub fn size(bytes: u64) -> String {
    size_with(bytes, 3)
}

/// `7.798MB`: the same with up to `digits` significant digits, of which docker uses three or four.
pub fn size_with(bytes: u64, digits: u32) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let bytes = u128::from(bytes);
    // Whole numbers, so that no float rounds where docker's does not: what rounds up to 1000 is the next unit.
    let limit = 10u128.pow(digits.max(3));
    let (mut unit, mut scale) = (0, 1u128);
    while unit + 1 < UNITS.len() && bytes * 2 * (limit / 1000) >= scale * (2 * limit - 1) {
        scale *= 1000;
        unit += 1;
    }
    let whole_digits = (bytes / scale).max(1).ilog10() + 1;
    let decimals = digits.max(3).saturating_sub(whole_digits);
    let step = 10u128.pow(decimals);
    let rounded = (bytes * step * 2 + scale) / (scale * 2);
    let (whole, part) = (rounded / step, rounded % step);
    let fraction = format!("{part:0width$}", width = decimals as usize);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}{}", UNITS[unit])
}

/// `3 minutes`, `About an hour`: how long something took or is ago.
pub fn duration(seconds: u64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `3 minutes ago`.
pub fn ago(seconds: u64) -> String {
    format!("{} ago", duration(seconds))
}

/// At most `width` characters, the last one an ellipsis when something was cut.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1500, "1.5kB"),
            (7_797_760, "7.8MB"),
            (78_050_000, "78.1MB"),
            (117_000_000, "117MB"),
            (999_600, "1MB"),
            (999_400, "999kB"),
            (9_995, "10kB"),
            (1_234_567_890, "1.23GB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), want, "{bytes}");
        }
    }

    #[test]
    fn sizes_with_four_digits() {
        for (bytes, want) in [(0, "0B"), (1_982_256, "1.982MB"), (999, "999B"), (1234, "1.234kB"), (999_960, "1MB")] {
            assert_eq!(size_with(bytes, 4), want, "{bytes}");
        }
    }

    /// What Go's tabwriter makes of it with docker's settings.
    #[test]
    fn cells_between_tabs() {
        assert_eq!(align("ID\tNAME\n1\tx\n"), "ID        NAME\n1         x\n");
        assert_eq!(align("a long cell\tb\tc\nd\te\t\n"), "a long cell   b         c\nd             e         \n");
        assert_eq!(align("a very long cell\tb\nno tab\nc\td"), "a very long cell   b\nno tab\nc         d");
    }

    #[test]
    fn ages() {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, want) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (119, "About a minute ago"),
            (180, "3 minutes ago"),
            (HOUR, "About an hour ago"),
            (HOUR + 1801, "2 hours ago"),
            (47 * HOUR, "47 hours ago"),
            (2 * DAY, "2 days ago"),
            (14 * DAY, "2 weeks ago"),
            (60 * DAY, "2 months ago"),
            (700 * DAY, "23 months ago"),
            (730 * DAY, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a".into(), "latest".into(), "x".into()], ["länger-als-das".into(), "1".into(), "yy".into()]];
        let want = "NAME             TAG       SIZE\na                latest    x\nlänger-als-das   1         yy\n";
        assert_eq!(columns(["NAME", "TAG", "SIZE"], &rows), want);
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("abcd", 4), "abcd");
    }
}
