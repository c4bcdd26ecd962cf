//! TCP connections, as their charges and records tell.

use super::*;
use crate::maps::Recorded;

impl PinnedMaps {
    /// The TCP connections whose SYN was sent and that `wanted` takes by their Service port and
    /// backend, in no order. Costs no system call.
    pub fn connections(&self, wanted: impl Fn(u32, u32) -> bool) -> Vec<Recorded> {
        let mut found = Vec::new();
        for (index, word) in self.standing() {
            let record = charge::record_of(index);
            let word32 = |offset| self.records.get32(record, offset);
            let word64 = |offset| self.records.get64(record, offset);
            let service = word32(offset_of!(Record, service));
            let backend = charge::backend_of(word);
            if !wanted(service, backend) {
                continue;
            }
            let since_ns = word64(offset_of!(Record, since));
            // The other half of its word is 0.
            let port = word32(offset_of!(Record, local_port)).to_ne_bytes();
            let local: [u32; 4] =
                std::array::from_fn(|nth| word32(offset_of!(Record, local_addr) + nth * 4));
            let connection = Recorded {
                index,
                word,
                service,
                tgid: word32(offset_of!(Record, tgid)),
                netns: word64(offset_of!(Record, netns)),
                local: convert::socket_addr(local, u16::from_ne_bytes([port[0], port[1]])),
                since_ns,
            };
            // Another charge may have taken the place meanwhile.
            if since_ns != 0 && self.charge(index) == word {
                found.push(connection);
            }
        }
        found
    }
}

const _: () = assert!(offset_of!(Record, zero) == offset_of!(Record, local_port) + 2);
