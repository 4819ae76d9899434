//! Which requests go through a proxy: the variables of the environment, read as Go reads them (`net/http`,
//! `ProxyFromEnvironment`), for that is how docker does.

use crate::origin::Origin;
use crate::{Error, Result};
use std::net::IpAddr;

/// What the variables of the environment say about proxies. An empty text is none.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`: for `http://`.
    pub http: String,
    /// `HTTPS_PROXY`: for `https://`.
    pub https: String,
    /// `NO_PROXY`: names, addresses and networks that are reached directly, parted by commas.
    pub none_for: String,
}

/// The same, read.
#[derive(Debug)]
pub(crate) struct Routes {
    http: Option<ureq::Proxy>,
    https: Option<ureq::Proxy>,
    direct: Vec<Rule>,
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Everything,
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// Without a dot in front: the domain and what is below it.
    Domain(String, Option<u16>),
    /// Only what is below.
    Below(String, Option<u16>),
}

impl Routes {
    pub(crate) fn new(proxies: &Proxies) -> Result<Self> {
        let read = |text: &str| match text {
            "" => Ok(None),
            // The URL may have a password in it.
            text => ureq::Proxy::new(text).map(Some).map_err(|_| Error::Proxy),
        };
        let direct = proxies.none_for.split(',').filter_map(|word| rule(word.trim())).collect();
        Ok(Self { http: read(&proxies.http)?, https: read(&proxies.https)?, direct })
    }

    /// The proxy for a place; this machine itself needs none.
    pub(crate) fn to(&self, place: &Origin) -> Option<&ureq::Proxy> {
        let proxy = if place.scheme == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !place.is_loopback() && !self.direct.iter().any(|rule| rule.names(place)))
    }
}

impl Rule {
    fn names(&self, place: &Origin) -> bool {
        let host = place.host.trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok();
        let at = |port: &Option<u16>| port.is_none_or(|port| port == place.port);
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|start| start.ends_with('.'));
        match self {
            Self::Everything => true,
            Self::Network(network, bits) => {
                address.is_some_and(|address| prefix(address, *bits) == prefix(*network, *bits))
            }
            Self::Address(named, port) => address == Some(*named) && at(port),
            Self::Domain(domain, port) => (host == domain || below(domain)) && at(port),
            Self::Below(domain, port) => below(domain) && at(port),
        }
    }
}

fn rule(word: &str) -> Option<Rule> {
    let word = word.to_ascii_lowercase();
    if word == "*" {
        return Some(Rule::Everything);
    }
    if let Some((network, bits)) = word.split_once('/') {
        let (network, bits) = (network.parse().ok()?, bits.parse().ok()?);
        return (bits <= length(network)).then_some(Rule::Network(network, bits));
    }
    if let Ok(address) = word.trim_matches(['[', ']']).parse() {
        return Some(Rule::Address(address, None));
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (&word[..], None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Some(Rule::Address(address, port));
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    match host.strip_prefix('.') {
        Some("") => None,
        Some(domain) => Some(Rule::Below(domain.into(), port)),
        None if host.is_empty() => None,
        None => Some(Rule::Domain(host.into(), port)),
    }
}

fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first bits of an address, with its family.
fn prefix(address: IpAddr, bits: u8) -> (u8, u128) {
    let number = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let rest = length(address).saturating_sub(bits);
    (length(address), number.checked_shr(rest.into()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(none_for: &str, url: &str) -> Option<u16> {
        let (http, https) = ("http://p:1".into(), "p:2".into());
        let routes = Routes::new(&Proxies { http, https, none_for: none_for.into() }).unwrap();
        routes.to(&Origin::of(url).unwrap()).map(ureq::Proxy::port)
    }

    #[test]
    fn each_scheme_has_its_own_and_this_machine_needs_none() {
        assert_eq!((via("", "https://r.io/"), via("", "http://r.io/")), (Some(2), Some(1)));
        for direct in ["http://127.0.0.1:5000/", "https://localhost/", "http://[::1]/"] {
            assert_eq!(via("", direct), None, "{direct}");
        }
        let one = Routes::new(&Proxies { https: "http://p:2".into(), ..Proxies::default() }).unwrap();
        assert!(one.to(&Origin::of("http://r.io/").unwrap()).is_none());
        assert!(Routes::new(&Proxies { http: "gopher://u:secret@p".into(), ..Proxies::default() }).is_err());
    }

    #[test]
    fn no_proxy_as_go_reads_it() {
        for (rules, url, direct) in [
            ("*", "https://r.io/", true),
            ("r.io", "https://r.io/", true),
            ("r.io", "https://a.r.io/", true),
            ("r.io", "https://ar.io/", false),
            (".r.io", "https://a.r.io/", true),
            (".r.io", "https://r.io/", false),
            ("*.r.io", "https://a.R.io/", true),
            ("x, r.io:5000", "https://r.io:5000/", true),
            ("r.io:5000", "https://r.io/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("0.0.0.0/0", "https://11.1.2.3/", true),
            ("0.0.0.0/0", "https://[fd00::1]/", false),
            ("fd00::/8", "https://[fd00::1]/", true),
            ("10.1.2.3", "https://10.1.2.3:5000/", true),
            ("[fd00::1]:80", "http://[fd00::1]/", true),
            ("10.0.0.0/33,,.,:,/", "https://10.1.2.3/", false),
        ] {
            assert_eq!(via(rules, url).is_none(), direct, "{rules} {url}");
        }
    }
}
