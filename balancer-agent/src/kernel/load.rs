//! Loads the object: makes or adopts the maps, verifies and attaches the programs.

use std::{
    panic::resume_unwind,
    path::Path,
    thread::{self, JoinHandle},
};

use aya::{EbpfLoader, util::KernelVersion};
use balancer_common::layout::{PAD_ACTIVE, PAD_BACKEND};

use super::{
    KernelError,
    attach::{self, Target},
    cleanup::{self, other_layout},
    grow::{self, Growth},
    guard::Guard,
    link::PROGRAMS,
    lock::Lock,
    outside::OutsidePrograms,
    pin,
};
use crate::{
    config::Capacities,
    maps::{
        OutsideCharges,
        pinned::PinnedMaps,
        pins::{MAPS, Pins},
        rcu::synchronize,
    },
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BALANCER_EBPF_OBJECT"));

/// The first kernel with `bpf_set_retval`.
const SET_RETVAL: KernelVersion = KernelVersion::new(5, 18, 0);

/// The loader while it is made, beside other work: it reads the kernel's BTF, several megabytes a page
/// at a time, whether or not the object asks for it.
pub struct Loader(JoinHandle<EbpfLoader<'static>>);

impl Loader {
    /// Starts making it.
    pub fn start() -> Self {
        Self(thread::spawn(EbpfLoader::new))
    }

    fn made<'a>(self) -> EbpfLoader<'a> {
        self.0.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// What [`load`] found and put in place.
pub struct Programs {
    /// True if balancing was already in place and goes on.
    pub adopted: bool,
    /// Keeps it in place.
    pub guard: Guard,
    /// The programs for traffic from outside, where they were asked for; or why they can't be loaded,
    /// which is no reason not to balance the rest.
    pub outside: Option<Result<OutsidePrograms, KernelError>>,
}

/// Puts the programs in place, attached to `cgroup`, and opens the maps. New maps get the given
/// capacities; adopted ones grow to them, and never shrink.
pub fn load(
    loader: Loader,
    bpffs: &Path,
    cgroup: &Path,
    capacities: Capacities,
    outside: bool,
) -> Result<(PinnedMaps, Programs), KernelError> {
    // Before anything there is read: two agents would write the same maps.
    let lock = Lock::take(bpffs)?;
    // Two sets of programs would both choose and both count.
    if let Some(layout) = other_layout(bpffs)? {
        return Err(KernelError::OtherLayout { layout, bpffs: bpffs.into() });
    }
    let pins = Pins::new(bpffs);
    let target = Target::open(cgroup)?;
    pin::create_folders(&pins)?;
    let adopted = pins.link("connect4").exists();

    let set_retval = u8::from(KernelVersion::current().is_ok_and(|kernel| kernel >= SET_RETVAL));
    let mut loader = loader.made();
    loader.override_global("SET_RETVAL", &set_retval, true);
    for (name, entries) in grow::sizes(capacities) {
        loader.map_max_entries(name, entries);
    }
    let growth = Growth::find(&pins, capacities)?;
    for name in MAPS {
        loader.map_pin_path(name, growth.pin(&pins, name));
    }
    let mut ebpf = loader.load(OBJECT)?;
    let totals = growth.take_over(&pins)?;
    let mut maps = PinnedMaps::open(&pins, capacities)?;
    maps.draw_key();
    maps.set_active(PAD_BACKEND, PAD_ACTIVE);
    attach::verify(&mut ebpf)?;
    for program in PROGRAMS {
        attach::attach(&mut ebpf, program, &pins, &target)?;
    }
    if let Some(totals) = totals {
        synchronize();
        totals.carry_over();
    }
    maps.settle_suspects(synchronize);
    let outside = outside.then(|| OutsidePrograms::load(&mut ebpf, pins.clone()));
    if !matches!(outside, Some(Ok(_))) {
        // Of an earlier agent. Nobody would tell the rules of backends.
        match cleanup::outside(&pins.links()) {
            Ok(0) => {}
            // A program may be about to count one.
            Ok(_) => synchronize(),
            Err(error) => tracing::error!(
                %error,
                "what an earlier agent may have left for traffic from outside stays"
            ),
        }
        uncount_outside(&mut maps)?;
    }
    let guard = Guard::new(ebpf, pins, cgroup, lock)?;
    Ok((maps, Programs { adopted, guard, outside }))
}

/// Ends the charges of connections from outside, which go on: nobody sees their ends any more.
fn uncount_outside(maps: &mut impl OutsideCharges) -> Result<(), KernelError> {
    let flows = maps.outside()?;
    for (key, flow) in &flows {
        maps.end_outside(key, flow)?;
    }
    if !flows.is_empty() {
        tracing::info!(
            connections = flows.len(),
            "connections from outside are counted no more, and go on"
        );
    }
    Ok(())
}
