//! Carries plans out: the only writer of the maps.

use balancer_common::{
    choice,
    layout::{ROW_STEP, Row, Slot},
};
use rand::Rng as _;

use crate::{
    maps::{MapsError, WriteMaps, convert},
    model::Problem,
    plan::{Entry, Plan, Write},
    pods::Resolved,
};

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Writes that were carried out.
    pub writes: usize,
    /// Objects that could not be written, and why. They are tried again with the next plan.
    pub problems: Vec<Problem>,
}

/// Carries a plan out, step by step. A step that fails is left at the failing write, which is safe
/// by the order of its writes; the other steps go on.
pub fn apply(maps: &mut impl WriteMaps, plan: &Plan) -> Applied {
    let mut applied = Applied::default();
    for step in &plan.steps {
        for write in &step.writes {
            if let Err(error) = carry_out(maps, write) {
                applied.problems.push(Problem {
                    object: step.object.clone(),
                    field: String::new(),
                    message: format!("{error}; it is left as it was and tried again"),
                });
                break;
            }
            applied.writes += 1;
        }
    }
    applied
}

/// Tells the programs about the pods of this node. Gives how many entries were written, by map.
pub fn pods(
    maps: &mut impl WriteMaps,
    found: &Resolved,
) -> (Vec<(&'static str, usize)>, Vec<Problem>) {
    let opted_out = maps.set_opted_out(&found.opted_out);
    let clients = maps.set_clients(&found.clients);
    let nodes = maps.set_nodes(&found.nodes);
    let problem = |error: MapsError| Problem {
        object: "pods".to_owned(),
        field: String::new(),
        message: format!(
            "{error}; what the programs know of them is left as it was and tried again"
        ),
    };
    let (mut written, mut problems) = (Vec::new(), Vec::new());
    for (map, result) in [("OPTED_OUT", opted_out), ("CLIENTS", clients), ("NODES", nodes)] {
        match result {
            Ok(entries) => written.push((map, entries)),
            Err(error) => problems.push(problem(error)),
        }
    }
    (written, problems)
}

fn carry_out(maps: &mut impl WriteMaps, write: &Write) -> Result<(), MapsError> {
    match write {
        Write::PutBackend { id, backend } => {
            let (addr, port, protocol) = convert::backend(*backend);
            maps.put_backend(*id, addr, port, protocol);
        }
        Write::RestoreBackend { id, backend } => {
            let (addr, port, protocol) = convert::backend(*backend);
            maps.restore_backend(*id, addr, port, protocol);
        }
        Write::RemoveBackend { id } => maps.remove_backend(*id),
        Write::PutSlots { row, backends } => put_slots(maps, *row, backends),
        Write::PutName { service, id, number } => {
            maps.put_name(*service, &convert::name(id, *number))?;
        }
        Write::SetRow { service, row } => maps.set_row(*service, *row),
        Write::SetSettings { service, settings } => maps.set_settings(*service, *settings),
        Write::PutRange { service, range } => {
            maps.put_range(convert::range(*service, *range))?;
        }
        Write::RemoveRange { service, range } => {
            maps.remove_range(convert::range(*service, *range))?;
        }
        Write::PutServing { service, backend } => maps.put_serving(*service, *backend)?,
        Write::RemoveServing { service, backend } => maps.remove_serving(*service, *backend)?,
        Write::PutFrontend { frontend, service, restricted } => {
            let (key, value) = convert::frontend(*frontend, *service, *restricted);
            maps.put_frontend(key, value)?;
        }
        Write::RemoveFrontend { frontend } => {
            maps.remove_frontend(convert::frontend(*frontend, 0, false).0)?;
        }
        Write::RemoveName { service } => maps.remove_name(*service)?,
        Write::RemoveEntry { entry: Entry::Frontend(key) } => maps.remove_frontend(*key)?,
        Write::RemoveEntry { entry: Entry::Range(entry) } => maps.remove_range(*entry)?,
    }
    Ok(())
}

/// Writes a row with fresh salts, and pads it.
fn put_slots(maps: &mut impl WriteMaps, row: Row, backends: &[(u32, u16)]) {
    let mut rng = rand::rng();
    let slots = (0..).zip(backends).map(|(at, &(backend, weight))| Slot {
        backend,
        weight,
        salt: choice::salt(rng.random(), at),
    });
    let padding = std::iter::repeat_n(Slot::PAD, ROW_STEP as usize);
    for (index, slot) in (row.base..row.base + Row::width(row.len)).zip(slots.chain(padding)) {
        maps.set_slot(index, slot);
    }
}
