//! `network_namespaces(7)`: network devices of the host's that the container gets, with their addresses.
//!
//! A device is in one namespace at a time. Nobody brings it back: when the namespace ends, the kernel gives hardware to
//! the first namespace and does away with the rest.

use crate::error::{Call, Error, Result};
use crate::netlink::{Netlink, attributes, put};
use crate::steps::{Mechanism, Scene, all, quote};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Serialize;

/// Those that move.
#[derive(Debug, Serialize)]
pub struct NetDevices {
    /// In the order in which they move.
    pub devices: Vec<NetDevice>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; for `eth%d` the kernel finds a number.
    pub inside: String,
}

/// A device as the kernel lists it.
struct Link {
    index: u32,
    name: String,
}

/// `struct ifinfomsg`: the index stands at 4, then flags and which of them are meant.
const LINK_HEADER: usize = 16;
/// `struct ifaddrmsg`: family, length of the prefix, flags, scope, index.
const ADDRESS_HEADER: usize = 8;
/// `IFNAMSIZ` with its end.
const LONGEST_NAME: usize = 15;

impl NetDevices {
    /// Refuses names that no device can have, and two devices of one name.
    pub fn new(devices: Vec<NetDevice>) -> std::result::Result<Self, Error> {
        for (at, device) in devices.iter().enumerate() {
            let names = [&device.name, &device.inside];
            if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
                return Err(Error::refused(format!(
                    "network device: {name:?}: no name of 1 to {LONGEST_NAME} letters"
                )));
            }
            if devices[..at].iter().any(|other| other.inside == device.inside && !device.finds_a_number()) {
                return Err(Error::refused(format!("network device: {}: twice", device.inside)));
            }
        }
        Ok(Self { devices })
    }

    /// Looks before anything moves: behind a move there is no way back.
    fn possible(&self, host: &[Link], inside: &[Link]) -> Result<Vec<(&NetDevice, u32)>> {
        let find = |device: &NetDevice| host.iter().find(|link| link.name == device.name).map(|link| link.index);
        let mut found = Vec::new();
        for device in &self.devices {
            let index = find(device);
            found.push((device, index.ok_or_else(|| Error::refused(format!("{}: not on this host", device.name)))?));
            if inside.iter().any(|link| link.name == device.inside) {
                let line = format!("{}: the container's network namespace has one of that name", device.inside);
                return Err(Error::refused(line));
            }
        }
        Ok(found)
    }
}

impl NetDevice {
    fn finds_a_number(&self) -> bool {
        self.inside.ends_with("%d")
    }
}

/// As the kernel sees it: `dev_valid_name()`.
fn is_name(name: &str) -> bool {
    let plain = |c: char| !matches!(c, '/' | ':' | '\0') && !c.is_ascii_whitespace();
    (1..=LONGEST_NAME).contains(&name.len()) && name != "." && name != ".." && name.chars().all(plain)
}

impl Mechanism for NetDevices {
    fn shell(&self) -> String {
        let lines = self.devices.iter().map(|device| {
            let (name, inside) = (quote(&device.name), quote(&device.inside));
            format!(
                "ip link set dev {name} down && ip link set dev {name} netns $pid name {inside} && \
                nsenter --net=/proc/$pid/ns/net ip link set dev {inside} up"
            )
        });
        all(lines) + "  # and ip addr add, of the addresses that it had"
    }

    fn run(&self, scene: &mut Scene) -> Result<()> {
        let host = Netlink::open().call(|| "socket(AF_NETLINK)".into())?;
        let (namespace, inside) = namespace_of(scene.pid.map_or(0, |pid| pid.as_raw_nonzero().get()))?;
        let mut known = links(&inside)?;
        for (device, index) in self.possible(&links(&host)?, &known)? {
            let addresses = addresses(&host, index)?;
            move_to(&host, device, index, &namespace)?;
            let now = links(&inside)?;
            let is_new = |link: &Link| known.iter().all(|other| other.index != link.index);
            let is_it = |link: &&Link| link.name == device.inside || device.finds_a_number() && is_new(link);
            let Some(link) = now.iter().find(is_it) else {
                return Err(Error::refused(format!("{}: lost on its way", device.name)));
            };
            for address in addresses {
                add(&inside, link, &address)?;
            }
            up(&inside, link)?;
            known = now;
        }
        Ok(())
    }
}

/// The network namespace of the process, and a socket that speaks with it.
fn namespace_of(pid: i32) -> Result<(OwnedFd, Netlink)> {
    let file =
        |path: String| open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"));
    let (ours, theirs) = (file("/proc/self/ns/net".into())?, file(format!("/proc/{pid}/ns/net"))?);
    let enter = |namespace: &OwnedFd| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .call(|| "setns(<network namespace>)".into())
    };
    enter(&theirs)?;
    let socket = Netlink::open().call(|| "socket(AF_NETLINK)".into());
    enter(&ours)?;
    Ok((theirs, socket?))
}

fn links(socket: &Netlink) -> Result<Vec<Link>> {
    let bodies = socket.list(libc::RTM_GETLINK, LINK_HEADER).call(|| "RTM_GETLINK".into())?;
    let name = |body: &[u8]| {
        let name = attributes(body, LINK_HEADER).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?.1;
        Some(String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned())
    };
    let link =
        |body: &Vec<u8>| Some(Link { index: u32::from_ne_bytes(*body.get(4..)?.first_chunk()?), name: name(body)? });
    Ok(bodies.iter().filter_map(link).collect())
}

/// Those that stay: made to last, and good beyond the host. As messages, since all that they are is taken along.
fn addresses(host: &Netlink, index: u32) -> Result<Vec<Vec<u8>>> {
    let mut bodies = host.list(libc::RTM_GETADDR, ADDRESS_HEADER).call(|| "RTM_GETADDR".into())?;
    bodies.retain(|body| match body.first_chunk::<ADDRESS_HEADER>() {
        Some([_, _, flags, scope, device @ ..]) => {
            u32::from_ne_bytes(*device) == index
                && u32::from(*flags) & libc::IFA_F_PERMANENT != 0
                && *scope == libc::RT_SCOPE_UNIVERSE
        }
        None => false,
    });
    Ok(bodies)
}

/// The kernel takes it down for this. By one message: the old name may be another's there.
fn move_to(host: &Netlink, device: &NetDevice, index: u32, namespace: &OwnedFd) -> Result<()> {
    let mut body = link_message(index, 0);
    put(&mut body, libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    put(&mut body, libc::IFLA_IFNAME, &[device.inside.as_bytes(), b"\0"].concat());
    host.order(libc::RTM_NEWLINK, 0, &body)
        .call(|| format!("RTM_NEWLINK({}, <network namespace>, {})", device.name, device.inside))
}

fn add(inside: &Netlink, link: &Link, address: &[u8]) -> Result<()> {
    let mut body = address[..ADDRESS_HEADER - 4].to_vec();
    body.extend(link.index.to_ne_bytes());
    // The label is the old name, and how long it is good is for ever.
    let stays = |kind: u16| kind != libc::IFA_LABEL && kind != libc::IFA_CACHEINFO;
    for (kind, value) in attributes(address, ADDRESS_HEADER).filter(|(kind, _)| stays(*kind)) {
        put(&mut body, kind, value);
    }
    inside
        .order(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
        .call(|| format!("RTM_NEWADDR({})", link.name))
}

fn up(inside: &Netlink, link: &Link) -> Result<()> {
    let flag = libc::IFF_UP.cast_unsigned();
    inside
        .order(libc::RTM_NEWLINK, 0, &link_message(link.index, flag))
        .call(|| format!("RTM_NEWLINK({}, IFF_UP)", link.name))
}

/// About the device of this index: these flags are to be set.
fn link_message(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for name in ["eth0", "a", "eth%d", "a.b-c_d", "fifteen-letters"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a:1", "a\tb", "sixteen--letters", "a\0"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
