//! Attributes of netlink (netlink(7)): a length with the header of 4 bytes, a type, and a value that is padded
//! to 4 bytes.

/// NLA_TYPE_MASK: without the bits that tell of nested ones and of the byte order.
const TYPE: u16 = 0x3fff;

/// The value of an attribute among others.
pub fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b])).max(4);
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & TYPE == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}
