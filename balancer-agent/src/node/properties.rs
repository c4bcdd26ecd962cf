//! What holds for whatever the kernel's files say.

use proptest::prelude::*;

use super::{kernel::Version, mounts};

proptest! {
    #[test]
    fn a_release_is_read_by_its_first_two_numbers(
        major in 0..1000_u32,
        minor in 0..1000_u32,
        rest in "([.-][a-z0-9+~.-]{0,30})?",
    ) {
        let version = Version::parse(&format!("{major}.{minor}{rest}"));
        prop_assert_eq!(version, Some(Version { major, minor }));
    }

    #[test]
    fn no_release_is_too_odd(release in ".{0,60}") {
        let shown = Version::parse(&release).map(|version| version.to_string());
        if let Some(shown) = shown {
            prop_assert_eq!(Version::parse(&shown).map(|v| v.to_string()), Some(shown));
        }
    }

    #[test]
    fn lines_of_mounts_that_make_no_sense_are_skipped(
        odd in prop::collection::vec("[ -~]{0,60}", 0..5),
        place in "/[a-z/]{0,20}",
    ) {
        let line = format!("41 31 0:38 / {place} rw,relatime shared:9 - cgroup2 cgroup2 rw");
        let table = [odd.join("\n"), line].join("\n");
        let found = mounts::parse(&table);
        prop_assert!(found.iter().any(|mount| mount.at.as_os_str() == place.as_str()));
        prop_assert!(found.len() <= odd.len() + 1);
    }
}
