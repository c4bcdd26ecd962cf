//! Waiting for programs that are running.
#![allow(unsafe_code, reason = "no safe wrapper calls membarrier(2)")]

use std::{thread, time::Duration};

/// `MEMBARRIER_CMD_GLOBAL` of membarrier(2), Linux 4.3.
const GLOBAL: libc::c_int = 1;

/// Waits until every program that runs now has ended, so that whatever was unlinked from the maps
/// before can be used for something else.
///
/// Programs run inside an RCU read-side section, and membarrier(2) with this command is
/// `synchronize_rcu()` (kernel/sched/membarrier.c). A kernel with `nohz_full` processors refuses
/// it; there, half a second stands in for it, many thousand times the length of the longest run.
pub fn synchronize() {
    // SAFETY: the call takes integers only and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result != 0 {
        thread::sleep(Duration::from_millis(500));
    }
}
