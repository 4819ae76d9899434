//! /etc/resolv.conf of a container: the host's, with what was asked for in its place, resolv.conf(5).

use crate::flag;
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::net::IpAddr;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// A name server, in place of the host's
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,

    /// A domain to look names up in, in place of the host's; a dot for none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,

    /// An option of the resolver, in place of the host's
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
}

impl Options {
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.dns_search.is_empty() && self.dns_option.is_empty()
    }

    pub fn note(&self, host: &mut Map<String, Value>) {
        for (name, list) in [("dns", &self.dns), ("dnsSearch", &self.dns_search), ("dnsOptions", &self.dns_option)] {
            if !list.is_empty() {
                host.insert(name.into(), json!(list));
            }
        }
    }

    /// The file, from the text of the host's.
    pub fn file(&self, of_host: &str) -> anyhow::Result<String> {
        self.check()?;
        if self.is_empty() {
            return Ok(of_host.into());
        }
        let mut text = String::new();
        let mut put = |word: &str, wished: &[String]| {
            for line in of_host.lines().filter(|line| wished.is_empty() && line.split_whitespace().next() == Some(word))
            {
                let _ = writeln!(text, "{line}");
            }
            if word == "nameserver" {
                for address in wished {
                    let _ = writeln!(text, "nameserver {address}");
                }
            } else if !wished.is_empty() && wished != ["."] {
                let _ = writeln!(text, "{word} {}", wished.join(" "));
            }
        };
        put("search", &self.dns_search);
        put("nameserver", &self.dns);
        put("options", &self.dns_option);
        Ok(text)
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(address) = self.dns.iter().find(|address| address.parse::<IpAddr>().is_err()) {
            return Err(flag::refused("--dns", address, format!("{address} is not an ip address")));
        }
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let domain = |name: &str| name == "." || !name.is_empty() && name.len() < 255 && name.bytes().all(inside);
        if let Some(name) = self.dns_search.iter().find(|name| !domain(name)) {
            return Err(flag::refused("--dns-search", name, format!("{name} is not a valid domain")));
        }
        if let Some(option) = self.dns_option.iter().find(|option| option.contains(char::is_whitespace)) {
            return Err(flag::refused("--dns-option", option, "one word is wanted"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_the_hosts_or_what_was_asked_for() {
        let host = "# mine\nsearch lan\nnameserver 10.0.0.1\nnameserver 10.0.0.2\noptions ndots:2\n";
        let options = |dns: &[&str], search: &[&str], option: &[&str]| {
            let list = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            Options { dns: list(dns), dns_search: list(search), dns_option: list(option) }
        };
        assert_eq!(options(&[], &[], &[]).file(host).unwrap(), host);
        let text = options(&["1.1.1.1", "::1"], &[], &[]).file(host).unwrap();
        assert_eq!(text, "search lan\nnameserver 1.1.1.1\nnameserver ::1\noptions ndots:2\n");
        let text = options(&[], &["."], &["ndots:1", "rotate"]).file(host).unwrap();
        assert_eq!(text, "nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions ndots:1 rotate\n");
        assert_eq!(options(&[], &["a.b", "c"], &[]).file("").unwrap(), "search a.b c\n");
        assert!(options(&["x\nnameserver 6.6.6.6"], &[], &[]).file(host).is_err());
        assert!(options(&[], &["a b"], &[]).file(host).is_err() && options(&[], &[], &["a\nb"]).file(host).is_err());
    }
}
