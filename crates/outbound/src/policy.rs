//! Which addresses a Worker may connect to: all that are global, and those that the operator allows.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// Which addresses a Worker may connect to.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// Global addresses only: no loopback, private, link-local, multicast or otherwise special ones.
    pub fn global_only() -> Self {
        Self::default()
    }

    /// Global addresses, and this machine itself: for development.
    pub fn with_loopback() -> Self {
        Self::global_only()
            .allow("127.0.0.0/8".parse().expect("a network"))
            .allow("::1/128".parse().expect("a network"))
    }

    /// Allows one more network.
    #[must_use]
    pub fn allow(mut self, network: IpNet) -> Self {
        self.allowed.push(network);
        self
    }

    /// Whether a Worker may connect to an address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = unmap(address);
        self.allowed.iter().any(|network| network.contains(&address))
            || !SPECIAL.iter().any(|network| network.contains(&address))
    }
}

/// The IPv4 address inside of an IPv6 address, where the network would go to it: mapped (RFC 4291), NAT64 (RFC 6052),
/// 6to4 (RFC 3056) and Teredo (RFC 4380) addresses.
fn unmap(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    embedded_v4(v6).map_or(address, IpAddr::V4)
}

fn embedded_v4(address: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    match segments {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

/// Blocks that are not globally reachable.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry/>, <https://www.iana.org/assignments/iana-ipv6-special-registry/>
static SPECIAL: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "2001:10::/28",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ]
    .iter()
    .map(|network| network.parse().expect("the table holds networks"))
    .collect()
});

#[cfg(test)]
mod tests {
    use super::AddressPolicy;

    #[test]
    fn global_addresses_only() {
        let policy = AddressPolicy::global_only();
        let check = |address: &str, permitted: bool| {
            assert_eq!(policy.permits(address.parse().unwrap()), permitted, "{address}")
        };
        check("1.1.1.1", true);
        check("8.8.8.8", true);
        check("172.15.255.255", true);
        check("172.32.0.1", true);
        check("2606:4700::1111", true);
        check("127.0.0.1", false);
        check("127.255.255.254", false);
        check("0.0.0.0", false);
        check("10.1.2.3", false);
        check("172.16.0.1", false);
        check("172.31.255.255", false);
        check("192.168.1.1", false);
        check("169.254.169.254", false);
        check("100.64.0.1", false);
        check("198.18.0.1", false);
        check("224.0.0.1", false);
        check("255.255.255.255", false);
        check("::", false);
        check("::1", false);
        check("fe80::1", false);
        check("fc00::1", false);
        check("fd12:3456::1", false);
        check("ff02::1", false);
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_address_counts() {
        let policy = AddressPolicy::global_only();
        let check = |address: &str, permitted: bool| {
            assert_eq!(policy.permits(address.parse().unwrap()), permitted, "{address}")
        };
        check("::ffff:127.0.0.1", false);
        check("::ffff:1.1.1.1", true);
        check("::10.0.0.1", false);
        check("64:ff9b::10.0.0.1", false);
        check("64:ff9b::8.8.8.8", true);
        check("2002:7f00:0001::1", false);
        check("2002:0808:0808::1", true);
        // Teredo hides the address inverted: ~10.0.0.1.
        check("2001:0:1:2:3:4:f5ff:fffe", false);
    }

    #[test]
    fn the_operator_may_allow_more() {
        let policy = AddressPolicy::with_loopback().allow("10.5.0.0/16".parse().unwrap());
        let check = |address: &str, permitted: bool| {
            assert_eq!(policy.permits(address.parse().unwrap()), permitted, "{address}")
        };
        check("127.0.0.1", true);
        check("::1", true);
        check("::ffff:127.0.0.1", true);
        check("10.5.1.1", true);
        check("10.6.1.1", false);
        check("169.254.169.254", false);
    }
}
