//! One line of a CSV file (RFC 4180): docker reads `--mount` so.

use anyhow::bail;

/// The fields of one line; a field in quotes may hold commas, and quotes twice.
pub(super) fn csv(text: &str) -> anyhow::Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, more) = rest.split_once(',').map_or((rest, None), |(field, more)| (field, Some(more)));
            if field.contains('"') {
                bail!("parse error: bare \" in non-quoted field");
            }
            fields.push(field.to_owned());
            match more {
                Some(more) => rest = more,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut left = quoted;
        loop {
            let Some((before, after)) = left.split_once('"') else { bail!("parse error: extraneous or missing \"") };
            field.push_str(before);
            left = after;
            match left.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    left = more;
                }
                None => break,
            }
        }
        fields.push(field);
        match left.strip_prefix(',') {
            Some(more) => rest = more,
            None if left.is_empty() => return Ok(fields),
            None => bail!("parse error: extraneous or missing \""),
        }
    }
}
