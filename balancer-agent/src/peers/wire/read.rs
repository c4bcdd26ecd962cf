//! Bytes of a datagram to sections.

use super::{
    ANSWER, ASK, Answer, Ask, DRAINS, Done, Drains, HELLO, Hello, LEFT, Left, OVER, PLAN, Plan,
    REPORT, Report, SURVEY, Section, Survey, TOTALS, Totals,
    reader::{Malformed, Reader},
    width,
};
use crate::{desired::BackendAddr, model::Protocol, peers::name::ServiceId};

/// The sections that are known.
///
/// # Errors
///
/// Where a section is longer than what there is, or than its length says.
pub fn read(bytes: &[u8]) -> Result<Vec<Section>, Malformed> {
    let mut sections = Vec::new();
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let kind = reader.u8()?;
        let length = reader.u16()?;
        let mut body = Reader(reader.take(usize::from(length))?);
        match kind {
            HELLO => {
                let (challenge, echo) = (body.u64()?, body.u64()?);
                let reports = body.optional();
                sections.push(Section::Hello(Hello { challenge, echo, reports }));
            }
            REPORT | TOTALS => sections.extend(counted(kind, &mut body)?),
            ASK => sections.extend(Ask::read(&mut body)?.map(Section::Ask)),
            ANSWER => sections.push(Section::Answer(Answer::read(&mut body)?)),
            SURVEY => sections.extend(Survey::read(&mut body)?.map(Section::Survey)),
            PLAN => sections.push(Section::Plan(Plan::read(&mut body)?)),
            DRAINS => sections.push(Section::Drains(Drains::read_drains(&mut body)?)),
            OVER => sections.push(Section::Drains(Drains::read_over(&mut body)?)),
            LEFT => sections.push(Section::Left(Left::read(&mut body)?)),
            _ => {}
        }
    }
    Ok(sections)
}

/// A section with counts; none where they are of a family or protocol that is not known.
fn counted(kind: u8, body: &mut Reader<'_>) -> Result<Option<Section>, Malformed> {
    let service = ServiceId(body.u64()?);
    let family = body.family()?;
    let protocol = Protocol::from_number(body.u8()?);
    let round = body.u8()?;
    let (opened, nodes, rate) = match kind {
        REPORT => (body.u32()?, 0, 0),
        _ => (0, body.u16()?, body.u32()?),
    };
    let number = usize::from(body.u16()?);
    let Some(ipv6) = family else { return Ok(None) };
    let entries = body.take(number * width(ipv6))?;
    let Some(protocol) = protocol else { return Ok(None) };
    let entry = |bytes: &[u8]| {
        let mut entry = Reader(bytes);
        Ok((BackendAddr::new(entry.addr(ipv6)?, protocol), entry.u32()?))
    };
    let counts = entries.chunks_exact(width(ipv6)).map(entry).collect::<Result<_, _>>()?;
    let all = body.optional();
    Ok(Some(match kind {
        REPORT => {
            let done = Done::read(body);
            Section::Report(Report { service, round, opened, all, done, counts })
        }
        _ => Section::Totals(Totals { service, round, nodes, rate, all, counts }),
    }))
}
