//! `WWW-Authenticate` (RFC 9110 section 11): which scheme, with which parameters.

/// One challenge of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Ask `realm` for a token that names `service`.
    Bearer { realm: String, service: Option<String> },
    /// Send user and password with every request.
    Basic,
}

/// The strongest challenge that we know: a token before a password.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for (scheme, parameters) in split(header) {
            let get = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
            match scheme.as_str() {
                "bearer" => {
                    if let Some(realm) = get("realm") {
                        return Some(Challenge::Bearer { realm, service: get("service") });
                    }
                }
                "basic" => basic = Some(Challenge::Basic),
                _ => {}
            }
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// `Scheme a=b, c="d, e", Scheme2 …`: a word that no `=` follows starts the next challenge.
fn split(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        let word = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start_matches([' ', '\t']);
        match (rest.strip_prefix('='), found.last_mut()) {
            (Some(after), Some((_, parameters))) => {
                let (value, after) = value(after.trim_start_matches([' ', '\t']));
                parameters.push((word, value));
                rest = after;
            }
            (Some(_), None) => return found,
            (None, _) => found.push((word, Vec::new())),
        }
    }
}

/// A token or a quoted string with backslash escapes, and what stands behind it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }
    }

    #[test]
    fn headers_as_registries_send_them() {
        for (header, want) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push""#,
                Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"))),
            ),
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            (r#"Basic realm="x", Bearer realm="https://t/""#, Some(bearer("https://t/", None))),
            (r#"Bearer realm = "https://t/?a=\"b\"" , service=s"#, Some(bearer("https://t/?a=\"b\"", Some("s")))),
            ("bearer REALM=https://t/", Some(bearer("https://t/", None))),
            ("Bearer", None),
            ("Negotiate", None),
            ("", None),
            ("=", None),
            (r#"Bearer realm="unclosed"#, Some(bearer("unclosed", None))),
            (",,, ,", None),
        ] {
            assert_eq!(parse([header].into_iter()), want, "{header:?}");
        }
    }
}
