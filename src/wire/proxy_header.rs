//! The header that a load balancer sends ahead of a connection: whose connection it is.
//!
//! **Implements** the PROXY protocol of HAProxy, versions 1 and 2 (doc/proxy-protocol.txt), for stream connections.
//! **Does not** look into TLVs, which are skipped. A header of a local client (UNIX) or of an unknown family stands for the
//! connection itself, as the specification wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// "The worst case ... a 108-byte buffer is always enough to store all the line and a trailing zero", so 107 octets.
const V1_OCTETS_MAX: usize = 107;
/// Octets in front of the addresses of version 2.
const V2_HEAD_OCTETS: usize = 16;
/// Addresses and TLVs of version 2, at most; HAProxy sends far less.
const V2_BODY_OCTETS_MAX: usize = 4096;
/// How every header of version 2 begins.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How every header of version 1 begins.
const V1_SIGNATURE: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` and CRLF: no header of version 1 is shorter.
const V1_OCTETS_MIN: usize = 15;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// That of the balancer itself (LOCAL, a health check), or of somebody without an IP address.
    Own,
    /// That of a client.
    Client {
        /// Where it comes from.
        source: SocketAddr,
        /// Where it wanted to go.
        destination: SocketAddr,
    },
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is whole, and so many octets long.
    Whole(ProxyHeader, usize),
    /// So many octets more belong to it at least: whoever reads no more than these reads nothing of what follows.
    Lacks(usize),
}

/// Why octets are not a header; the balancer's fault, or that of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Something else is spoken.
    #[error("no PROXY header")]
    Signature,
    /// No CRLF within 107 octets.
    #[error("a PROXY header longer than {V1_OCTETS_MAX} octets")]
    TooLong,
    /// Version 1, not as the specification writes it.
    #[error("a malformed PROXY header of version 1")]
    Line,
    /// Neither version 1 nor 2.
    #[error("a PROXY header of an unknown version")]
    Version,
    /// Neither LOCAL nor PROXY.
    #[error("a PROXY header with an unknown command")]
    Command,
    /// A family that is none, or datagrams.
    #[error("a PROXY header of an unknown address family")]
    Family,
    /// Addresses that do not fit into the length it gives.
    #[error("a PROXY header too short for its addresses")]
    TooShort,
    /// More than anybody needs.
    #[error("a PROXY header with more than {V2_BODY_OCTETS_MAX} octets of addresses and TLVs")]
    TooManyTlvs,
}

/// Reads what has come of a header.
///
/// # Errors
/// [`ProxyHeaderError`], as soon as no continuation can make a header of it.
pub fn parse(octets: &[u8]) -> Result<Progress, ProxyHeaderError> {
    if let Some(missing) = lacks_of(octets, V2_SIGNATURE) {
        return match missing {
            0 => version2(octets),
            _ => Ok(Progress::Lacks(V1_OCTETS_MIN.saturating_sub(octets.len()))),
        };
    }
    match lacks_of(octets, V1_SIGNATURE) {
        Some(0) => version1(octets),
        Some(_) => Ok(Progress::Lacks(V1_OCTETS_MIN.saturating_sub(octets.len()))),
        None => Err(ProxyHeaderError::Signature),
    }
}

/// How many octets of the signature are still to come; `None` when it is another one.
fn lacks_of(octets: &[u8], signature: &[u8]) -> Option<usize> {
    let common = octets.len().min(signature.len());
    let is_begun = octets.get(..common) == signature.get(..common);
    is_begun.then(|| signature.len().saturating_sub(common))
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 49152 25` and CRLF.
fn version1(octets: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let window = octets.get(..V1_OCTETS_MAX).unwrap_or(octets);
    let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
        return match V1_OCTETS_MAX.saturating_sub(octets.len()) {
            0 => Err(ProxyHeaderError::TooLong),
            _ => Ok(Progress::Lacks(V1_OCTETS_MIN.saturating_sub(octets.len()).max(1))),
        };
    };
    let line = window.get(..end).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| ProxyHeaderError::Line)?;
    let header = line_header(line).ok_or(ProxyHeaderError::Line)?;
    Ok(Progress::Whole(header, end.saturating_add(2)))
}

fn line_header(line: &str) -> Option<ProxyHeader> {
    let rest = line.strip_prefix("PROXY ")?;
    // "The receiver must ignore anything presented before the CRLF".
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(ProxyHeader::Own);
    }
    let mut words = rest.split(' ');
    let (family, source, destination) = (words.next()?, words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    Some(ProxyHeader::Client {
        source: SocketAddr::new(address(source)?, source_port),
        destination: SocketAddr::new(address(destination)?, destination_port),
    })
}

/// "a decimal integer in the range [0..65535] inclusive", without signs and leading zeroes.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn version2(octets: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let Some(&[version_and_command, family, high, low]) = octets.get(V2_SIGNATURE.len()..V2_HEAD_OCTETS) else {
        return Ok(Progress::Lacks(V2_HEAD_OCTETS.saturating_sub(octets.len())));
    };
    if version_and_command >> 4 != 2 {
        return Err(ProxyHeaderError::Version);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BODY_OCTETS_MAX {
        return Err(ProxyHeaderError::TooManyTlvs);
    }
    let end = V2_HEAD_OCTETS.saturating_add(length);
    let Some(body) = octets.get(V2_HEAD_OCTETS..end) else {
        return Ok(Progress::Lacks(end.saturating_sub(octets.len())));
    };
    let header = match version_and_command & 0x0f {
        0 => ProxyHeader::Own,
        1 => client(family, body)?,
        _ => return Err(ProxyHeaderError::Command),
    };
    Ok(Progress::Whole(header, end))
}

/// The addresses in front of the TLVs; the low half of the family says stream (1), datagram (2) or nothing.
fn client(family: u8, body: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let addresses = match family {
        0x11 => v4(body),
        0x21 => v6(body),
        // AF_UNSPEC, and AF_UNIX with its two paths of 108 octets.
        0x00 => Some(ProxyHeader::Own),
        0x31 => (body.len() >= 216).then_some(ProxyHeader::Own),
        _ => return Err(ProxyHeaderError::Family),
    };
    addresses.ok_or(ProxyHeaderError::TooShort)
}

fn v4(body: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    Some(ProxyHeader::Client {
        source: SocketAddr::new(IpAddr::from(*source), port_at(rest, 0)?),
        destination: SocketAddr::new(IpAddr::from(*destination), port_at(rest, 2)?),
    })
}

fn v6(body: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    Some(ProxyHeader::Client {
        source: SocketAddr::new(IpAddr::from(*source), port_at(rest, 0)?),
        destination: SocketAddr::new(IpAddr::from(*destination), port_at(rest, 2)?),
    })
}

fn port_at(octets: &[u8], at: usize) -> Option<u16> {
    let (port, _) = octets.get(at..)?.split_first_chunk::<2>()?;
    Some(u16::from_be_bytes(*port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut octets = V2_SIGNATURE.to_vec();
        octets.extend([0x20 | command, family]);
        octets.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        octets.extend(body);
        octets
    }

    fn headers() -> Vec<(Vec<u8>, ProxyHeader)> {
        let client = |source: &str, destination: &str| ProxyHeader::Client {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let four = client("192.0.2.1:49152", "198.51.100.1:25");
        let six = client("[2001:db8::1]:49152", "[2001:db8::2]:25");
        let body = [192, 0, 2, 1, 198, 51, 100, 1, 0xc0, 0, 0, 25];
        let with_tlv = [&body[..], &[0x04, 0, 2, 0, 0]].concat();
        let mut body6 = Vec::new();
        for last in [1, 2] {
            body6.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets());
        }
        body6.extend([0xc0, 0, 0, 25]);
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 49152 25\r\n".to_vec(), four),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 49152 25\r\n".to_vec(), six),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Own),
            (
                b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
                ProxyHeader::Own,
            ),
            (v2(1, 0x11, &body), four),
            (v2(1, 0x11, &with_tlv), four),
            (v2(1, 0x21, &body6), six),
            (v2(0, 0x11, &body), ProxyHeader::Own),
            (v2(0, 0, &[]), ProxyHeader::Own),
            (v2(1, 0, &[]), ProxyHeader::Own),
            (v2(1, 0x31, &[b'/'; 216]), ProxyHeader::Own),
        ]
    }

    #[test]
    fn header_is_read_and_what_follows_is_left() {
        for (octets, header) in headers() {
            let all = [&octets[..], b"EHLO a\r\n"].concat();
            assert_eq!(parse(&all), Ok(Progress::Whole(header, octets.len())), "{octets:?}");
        }
    }

    /// Reading exactly what is lacking reaches the end of the header and not an octet further.
    #[test]
    fn header_read_as_it_asks_for_is_never_overrun() {
        for (octets, header) in headers() {
            let mut read = 0;
            let whole = loop {
                match parse(&octets[..read]) {
                    Ok(Progress::Lacks(more)) => {
                        assert!(more > 0 && read + more <= octets.len(), "{octets:?} at {read}: {more}");
                        read += more;
                    }
                    other => break other,
                }
            };
            assert_eq!(whole, Ok(Progress::Whole(header, read)));
            assert_eq!(read, octets.len());
            for length in 0..octets.len() {
                assert!(
                    matches!(parse(&octets[..length]), Ok(Progress::Lacks(_))),
                    "{octets:?} at {length}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107));
        let many = [&v2(1, 0x11, &[])[..14], &[0xff, 0xff]].concat();
        for (octets, why) in [
            (b"EHLO a\r\n".to_vec(), ProxyHeaderError::Signature),
            (b"\r\n\r\nX".to_vec(), ProxyHeaderError::Signature),
            (b"proxy TCP4 ".to_vec(), ProxyHeaderError::Signature),
            (long.into_bytes(), ProxyHeaderError::TooLong),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 49152\r\n".to_vec(),
                ProxyHeaderError::Line,
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 49152 25 \r\n".to_vec(),
                ProxyHeaderError::Line,
            ),
            (
                b"PROXY TCP4 2001:db8::1 2001:db8::2 49152 25\r\n".to_vec(),
                ProxyHeaderError::Line,
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n".to_vec(),
                ProxyHeaderError::Line,
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n".to_vec(),
                ProxyHeaderError::Line,
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 025 25\r\n".to_vec(),
                ProxyHeaderError::Line,
            ),
            (b"PROXY \xff\r\n....\r\n".to_vec(), ProxyHeaderError::Line),
            (b"PROXY UNKNOWNX\r\n".to_vec(), ProxyHeaderError::Line),
            (v2(2, 0x11, &[0; 12]), ProxyHeaderError::Command),
            (v2(1, 0x12, &[0; 12]), ProxyHeaderError::Family),
            (v2(1, 0x41, &[0; 12]), ProxyHeaderError::Family),
            (v2(1, 0x11, &[0; 11]), ProxyHeaderError::TooShort),
            (v2(1, 0x21, &[0; 35]), ProxyHeaderError::TooShort),
            (v2(1, 0x31, &[0; 215]), ProxyHeaderError::TooShort),
            (many, ProxyHeaderError::TooManyTlvs),
            (
                [V2_SIGNATURE.as_slice(), &[0x11, 0x11, 0, 0]].concat(),
                ProxyHeaderError::Version,
            ),
        ] {
            assert_eq!(parse(&octets), Err(why), "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&octets);
            for family in [0x00, 0x11, 0x21, 0x31] {
                let _ = parse(&v2(1, family, &octets));
            }
            let _ = parse(&[b"PROXY TCP4 ".as_slice(), &octets, b"\r\n"].concat());
        }

        /// What came is either never a header, or the same header with whatever behind it.
        #[test]
        fn verdict_does_not_change_with_what_follows(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            more in proptest::collection::vec(any::<u8>(), 0..50),
            pick in 0..11_usize,
        ) {
            let (header, _) = headers().swap_remove(pick);
            for begun in [octets.clone(), [&header[..], &octets].concat(), [b"PROXY ".as_slice(), &octets].concat()] {
                let longer = [&begun[..], &more].concat();
                match parse(&begun) {
                    Ok(Progress::Lacks(_)) => {}
                    decided => prop_assert_eq!(parse(&longer), decided),
                }
            }
        }
    }
}
