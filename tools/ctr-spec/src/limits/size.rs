//! Sizes as docker's command line has them.

/// What is none.
pub fn no_size(flag: &str, text: &str) -> anyhow::Error {
    crate::flag::refused(flag, text, format!("invalid size: '{text}'"))
}

/// Docker's sizes: `512`, `64k`, `1.5G`, `2gb`, `1 GiB`; the steps are 1024 always.
pub fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let number_ends = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(number_ends);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || part.contains('.') {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let part: String = part.chars().take(9).collect();
    let fraction = if part.is_empty() {
        0
    } else {
        (part.parse::<i128>().ok()? << shift) / 10i128.pow(u32::try_from(part.len()).ok()?)
    };
    i64::try_from(whole.checked_mul(1 << shift)?.checked_add(fraction)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_sizes() {
        for (text, want) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64k", Some(65536)),
            ("256m", Some(256 << 20)),
            ("1G", Some(1 << 30)),
            ("2gb", Some(2 << 30)),
            ("1 GiB", Some(1 << 30)),
            ("1.5g", Some(3 << 29)),
            ("10b", Some(10)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.", None),
            (".5g", None),
            ("1x", None),
            ("1mm", None),
            ("1.2.3m", None),
            ("9223372036854775808", None),
            ("99999999999p", None),
        ] {
            assert_eq!(size(text), want, "{text:?}");
        }
    }
}
