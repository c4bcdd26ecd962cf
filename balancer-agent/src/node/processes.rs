//! Which processes this one sees.

use std::{fs, path::Path};

/// The kernel's fixed inode of the first namespace of processes (`PROC_PID_INIT_INO`).
const INITIAL: &str = "pid:[4026531836]";

/// True if this process sees all those of the machine: it is in the first namespace of processes.
pub fn sees_all() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|found| found == Path::new(INITIAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_sees_all_sees_the_threads_of_the_kernel() {
        let kthreadd = fs::read_to_string("/proc/2/comm").unwrap_or_default();
        assert_eq!(sees_all(), kthreadd.trim() == "kthreadd");
    }
}
