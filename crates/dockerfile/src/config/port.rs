//! The ports of EXPOSE.

use anyhow::bail;

/// `80`, `80/udp`, `8000-8002/tcp`. What stands before a colon is for run and not for images: of `IP:HOST:CONTAINER`
/// the last part counts, as in BuildKit.
pub(super) fn ports(word: &str) -> anyhow::Result<Vec<String>> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".into() } else { protocol.to_ascii_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        bail!("EXPOSE {word}: the protocol is tcp, udp or sctp");
    }
    let ports = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
        Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
    };
    let mut parts = range.rsplitn(3, ':');
    let container = parts.next().and_then(ports);
    let host = parts.next().is_none_or(|host| host.is_empty() || ports(host).is_some());
    let address = parts.next().is_none_or(|ip| ip.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok());
    match container {
        Some((first, last)) if host && address => Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect()),
        _ => bail!("EXPOSE {word}: want PORT or FIRST-LAST, 0 to 65535, and perhaps /udp"),
    }
}
