//! Scheme, host and port: the border that credentials do not cross.

use ureq::http::Uri;

/// Where a URL points, without its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// None unless the URL is http(s) with a host and without user information.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = authority.host().to_ascii_lowercase();
        Some(Self { scheme, host, port: authority.port_u16().unwrap_or(usual) })
    }

    /// Whether this is this machine itself, where plain HTTP crosses no wire.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Loopback, link-local or private by its literal address: a place that a registry outside has no business
    /// to send us to.
    pub(crate) fn is_internal(&self) -> bool {
        use std::net::IpAddr;
        match bare(&self.host).parse() {
            Ok(IpAddr::V4(a)) => a.is_loopback() || a.is_private() || a.is_link_local() || a.is_unspecified(),
            Ok(IpAddr::V6(a)) => match a.to_ipv4_mapped() {
                Some(a) => a.is_loopback() || a.is_private() || a.is_link_local() || a.is_unspecified(),
                None => a.is_loopback() || a.is_unspecified() || a.is_unique_local() || a.is_unicast_link_local(),
            },
            Err(_) => is_loopback(&self.host),
        }
    }
}

/// `127.0.0.0/8`, `::1` and `localhost`; `host` without port.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The target of a `Location` header: a whole URL, or a path at the same origin.
pub(crate) fn resolve(from: &str, location: &str) -> Option<String> {
    if Origin::of(location).is_some() {
        return Some(location.to_owned());
    }
    let origin = Origin::of(from)?;
    if !location.starts_with('/') || location.starts_with("//") {
        return None;
    }
    Some(format!("{}://{}:{}{location}", origin.scheme, origin.host, origin.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let of = |url| Origin::of(url).unwrap();
        assert_eq!(of("https://R.io/x"), of("https://r.io:443/y"));
        assert_ne!(of("https://r.io"), of("http://r.io"));
        assert_ne!(of("https://r.io"), of("https://r.io:444"));
        assert_ne!(of("https://r.io"), of("https://r.io.evil.org"));
        for bad in ["ftp://r.io/", "https://user@r.io/", "//r.io/x", "r.io", "https://", ""] {
            assert_eq!(Origin::of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn places_that_are_not_outside() {
        for inside in [
            "http://127.0.0.1/",
            "http://[::1]:5/",
            "http://localhost/",
            "https://10.1.2.3/",
            "https://169.254.169.254/",
            "https://[fe80::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://0.0.0.0/",
        ] {
            assert!(Origin::of(inside).unwrap().is_internal(), "{inside}");
        }
        assert!(!Origin::of("https://auth.docker.io/").unwrap().is_internal());
        assert!(!Origin::of("https://localhost.evil.org/").unwrap().is_loopback());
    }

    #[test]
    fn locations() {
        assert_eq!(resolve("https://r.io/v2/x", "/y?z").as_deref(), Some("https://r.io:443/y?z"));
        assert_eq!(resolve("https://r.io/v2/x", "https://cdn/y").as_deref(), Some("https://cdn/y"));
        for bad in ["//evil/x", "x/y", "file:///etc/passwd", ""] {
            assert_eq!(resolve("https://r.io/", bad), None, "{bad:?}");
        }
    }
}
