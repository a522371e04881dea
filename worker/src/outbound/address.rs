//! Which addresses are on the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// What the IANA registry of special IPv4 addresses sets apart, and multicast.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// All public IPv6 addresses are in here; loopback, local and multicast ones are not.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// What is set apart in there: Teredo and other protocols, documentation.
const SPECIAL_V6: [Ipv6Net; 3] = [v6(0x2001, 0, 23), v6(0x2001, 0x0db8, 32), v6(0x3fff, 0, 20)];

/// An IPv4 address in the last 32 bits: the well-known NAT64 prefix.
const NAT64: Ipv6Net = v6(0x0064, 0xff9b, 96);

/// An IPv4 address behind the first 16 bits.
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 16);

/// Is an address on the public internet, whatever it is wrapped in?
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => is_public_v4(embedded(address, 0)),
        IpAddr::V6(address) if SIX_TO_FOUR.contains(&address) => is_public_v4(embedded(address, 80)),
        IpAddr::V6(address) => GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|net| net.contains(&address)),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

/// The IPv4 address that ends so many bits before the end.
fn embedded(address: Ipv6Addr, bits: u32) -> Ipv4Addr {
    let [.., a, b, c, d] = (u128::from(address) >> bits).to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn other_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(public(address), "{address}");
        }
    }

    proptest! {
        #[test]
        fn wrapping_an_address_changes_nothing(bits: u32) {
            let plain = Ipv4Addr::from(bits);
            let low = u128::from(bits);
            let expected = is_public(plain.into());
            let wrapped = [
                plain.to_ipv6_mapped(),
                Ipv6Addr::from(0x0064_ff9b_u128 << 96 | low),
                Ipv6Addr::from(0x2002_u128 << 112 | low << 80),
            ];
            for wrapped in wrapped {
                prop_assert_eq!(is_public(wrapped.into()), expected, "{} {}", plain, wrapped);
            }
        }
    }
}
