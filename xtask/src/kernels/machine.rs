//! One emulated machine and its serial console.

use std::{fs::File, io::Write as _, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{architecture::Architecture, process};

/// Beside what the initramfs takes.
const MEMORY_MIB: u64 = 768;

/// What to boot.
pub struct Machine<'a> {
    /// Of the processor.
    pub architecture: Architecture,
    /// The kernel's image.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initramfs: &'a Path,
    /// Bytes of the initramfs.
    pub size: u64,
}

impl Machine<'_> {
    /// Runs until the machine is off, and hands on each line of its console, which is also kept in a
    /// file. It is ended at the limit, and with this thread, however that ends.
    pub fn run(&self, console: &Path, limit: Duration, mut each: impl FnMut(&str)) -> Result<()> {
        let describe = || format!("writing {}", console.display());
        let mut log = File::create(console).with_context(describe)?;
        let mut kept = Ok(());
        let status = process::watch(&mut self.command(), limit, |line| {
            // A serial line ends with both.
            let line = line.trim_end_matches('\r');
            if kept.is_ok() {
                kept = writeln!(log, "{line}");
            }
            each(line);
        })?;
        kept.with_context(describe)?;
        // Whether the kernel came to an end or panicked: what was told on the console decides.
        anyhow::ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }

    fn command(&self) -> Command {
        // Unpacked it takes its size once more.
        let memory = MEMORY_MIB + 2 * (self.size >> 20);
        // A machine without its owner would run on for ever.
        let mut command = Command::new("setpriv");
        let emulator = format!("qemu-system-{}", self.architecture.machine());
        command.args(["--pdeathsig", "KILL", &emulator]);
        let (board, processor, console) = match self.architecture {
            Architecture::Amd64 => ("pc", "max,la57=off", "ttyS0"),
            // Pointers are signed as QEMU likes it best: the real way takes most of its time.
            Architecture::Arm64 => ("virt", "max,pauth-impdef=on", "ttyAMA0"),
        };
        let kernel_line =
            format!("console={console} panic=-1 loglevel=4 random.trust_cpu=on no_timer_check");
        command
            .args(["-machine", board, "-accel", "tcg", "-cpu", processor, "-smp", "1"])
            // Its clock counts instructions, 2 ns each, and jumps where there is nothing to do: a
            // host with other work makes nothing time out in there, and waiting costs no time here.
            .args(["-icount", "shift=1,sleep=off"])
            .args(["-m", &memory.to_string()])
            .args(["-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio"])
            .args(["-monitor", "none"])
            .args(["-append", &kernel_line])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs);
        command
    }
}
