//! What the lab takes from the machine: mounts, programs, the binaries built beside this one.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::error::{Attempt, Error, Result};

/// Root of the cgroup2 mount. On hybrid machines it is not `/sys/fs/cgroup`.
pub fn cgroup2_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").attempt("read /proc/self/mountinfo")?;
    cgroup2_mount(&mounts).ok_or_else(|| {
        Error::Unmet(
            "no cgroup2 file system is mounted; `mount -t cgroup2 none /sys/fs/cgroup/unified`"
                .into(),
        )
    })
}

/// The first mount of the whole cgroup2 hierarchy in a mountinfo listing.
fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, target) = (fields.next()?, fields.next()?);
        (root == "/" && kind.starts_with("cgroup2 ")).then(|| target.into())
    })
}

/// Finds a binary of this workspace: `variable` in the environment, else beside the running
/// executable, else one directory up (test executables live in `deps/`).
pub fn binary(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let own = env::current_exe().attempt("find the running executable")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::Unmet(format!(
                "{name} is not beside {}; `cargo build -p {name}` or set {variable}",
                own.display()
            ))
        })
}

/// Runs a command, feeding it `input`; anything but success is an error with what it printed.
pub fn run(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .attempt(format!("run `{}`", line(command)))?;
    let mut stdin = child.stdin.take();
    // Fed from a thread of its own: both sides may be larger than a pipe holds.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(input.as_bytes())));
        child.wait_with_output()
    })
    .attempt(format!("wait for `{}`", line(command)))?;
    if output.status.success() { Ok(output) } else { Err(failed(command, &output)) }
}

/// The error of a command that ended badly.
pub(crate) fn failed(command: &Command, output: &Output) -> Error {
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Error::Command {
        command: line(command),
        status: output.status.to_string(),
        output: tail(&String::from_utf8_lossy(said), 20),
    }
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs iproute2 on a batch of lines, in the network namespace `netns` if given.
pub fn ip(netns: Option<&str>, batch: &str) -> Result<()> {
    let mut command = Command::new("ip");
    if let Some(name) = netns {
        command.args(["-n", name]);
    }
    run(command.args(["-batch", "-"]), batch).map(drop)
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = command.get_args().map(|arg| arg.to_string_lossy());
    std::iter::once(program.to_string_lossy()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hybrid_mount_is_found_and_bind_mounts_of_subtrees_are_not() {
        let listing = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                       40 31 0:38 /pod /mnt/sub rw - cgroup2 cgroup2 rw\n\
                       41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(listing), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount("32 31 0:29 / /sys/fs/cgroup rw - tmpfs tmpfs rw"), None);
    }

    #[test]
    fn a_failed_command_says_what_it_printed() {
        let error = run(Command::new("sh").args(["-c", "cat >&2; exit 3"]), "no such device");
        let text = error.expect_err("exit code 3 is a failure").to_string();
        assert!(text.contains("no such device") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn tail_keeps_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
    }
}
