//! Reads numbers and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes that no agent of this major version packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no sections")]
pub struct Malformed;

/// What is left to read of a datagram or a section.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// As many bytes as an array has.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, the highest first.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number that may be none. An agent that does not know the field says nothing of it.
    pub fn optional(&mut self) -> Option<u16> {
        self.u16().unwrap_or(0).checked_sub(1)
    }

    /// Four bytes, the highest first.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// True for IPv6; none for a family that is not known.
    pub fn family(&mut self) -> Result<Option<bool>, Malformed> {
        Ok(match self.u8()? {
            4 => Some(false),
            6 => Some(true),
            _ => None,
        })
    }

    /// An address and a port.
    pub fn addr(&mut self, ipv6: bool) -> Result<SocketAddr, Malformed> {
        let ip: IpAddr = if ipv6 {
            Ipv6Addr::from(self.array::<16>()?).into()
        } else {
            Ipv4Addr::from(self.array::<4>()?).into()
        };
        Ok(SocketAddr::new(ip, self.u16()?))
    }

    /// Eight bytes, the highest first.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }
}
