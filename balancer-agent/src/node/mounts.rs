//! `/proc/self/mountinfo`.

use std::path::PathBuf;

/// A line of the table of mounts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Path within the file system that is mounted.
    pub(super) root: String,
    /// Where it is mounted.
    pub(super) at: PathBuf,
    /// Type of the file system.
    pub(super) kind: String,
}

/// Reads the table; lines it does not understand are skipped, as proc(5) allows new fields.
pub(super) fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(line).collect()
}

// "36 35 98:0 /root /at rw,noatime master:1 - ext3 /dev/root rw": the optional fields before the
// dash vary in number.
fn line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    Some(Mount {
        root: unescape(left.next()?),
        at: unescape(left.next()?).into(),
        kind: right.split(' ').next()?.to_owned(),
    })
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_and_escapes_are_understood() {
        let table = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
                     garbage\n\
                     41 31 0:38 /a /mnt/my\\040cgroup rw shared:4 master:2 - cgroup2 none rw\n";
        assert_eq!(
            parse(table),
            [
                Mount { root: "/".into(), at: "/sys/fs/cgroup".into(), kind: "tmpfs".into() },
                Mount { root: "/a".into(), at: "/mnt/my cgroup".into(), kind: "cgroup2".into() },
            ]
        );
    }
}
