//! Which packages are a kernel.

use super::super::series::Series;
use crate::architecture::Architecture;

/// A package of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    depends: String,
}

/// Reads what `apt-cache dumpavail` prints.
pub fn parse(text: &str) -> Vec<Package> {
    text.split("\n\n")
        .map(|stanza| {
            let field = |name: &str| {
                let value = stanza.lines().find_map(|line| line.strip_prefix(name));
                value.unwrap_or_default().trim().to_owned()
            };
            Package {
                name: field("Package:"),
                version: field("Version:"),
                depends: field("Depends:"),
            }
        })
        .filter(|package| package.name.starts_with("linux-"))
        .collect()
}

/// The packages that make up the newest kernel of a series, with the image first. From 6.19 on the
/// image is empty and depends on a package of the kernel and one of its modules.
pub fn newest<'a>(
    packages: &'a [Package],
    series: &Series,
    architecture: Architecture,
) -> Option<Vec<&'a Package>> {
    let flavour = format!("-cloud-{}", architecture.name());
    let is_image = |package: &Package| {
        let Some(rest) = package.name.strip_prefix("linux-image-") else { return false };
        let release = rest.trim_end_matches("-unsigned").strip_suffix(&flavour);
        // `6.1.0-56` or `6.12.117+deb12`; `6.1` is only a name for the latest.
        release.is_some_and(|release| release.split('.').count() > 2)
    };
    let image = packages
        .iter()
        .filter(|package| series.has(&package.version) && is_image(package))
        // Signed before unsigned, where both are there.
        .max_by_key(|package| (numbers(&package.version), !package.name.ends_with("-unsigned")))?;
    let parts = image.depends.split([',', '|']).filter_map(|part| part.split_whitespace().next());
    let parts = parts
        .filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"))
        .filter_map(|name| {
            packages.iter().find(|part| part.name == name && part.version == image.version)
        });
    Some(std::iter::once(image).chain(parts).collect())
}

/// Orders versions of one series: only numbers differ in what counts.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::series::SERIES, *};

    fn available() -> Vec<Package> {
        let stanza = |name: &str, version: &str, depends: &str| {
            format!("Package: linux-{name}\nVersion: {version}\nDepends: kmod, {depends}\n")
        };
        parse(
            &[
                stanza("image-6.1-cloud-amd64", "6.1.192-2", ""),
                stanza("image-6.1.0-9-cloud-amd64", "6.1.27-1", ""),
                stanza("image-6.1.0-56-cloud-amd64", "6.1.192-2", ""),
                stanza("image-6.1.0-56-cloud-amd64-unsigned", "6.1.192-2", ""),
                stanza("image-6.1.0-56-amd64", "6.1.192-3", ""),
                stanza("image-6.1.0-56-cloud-amd64-dbg", "6.1.192-4", ""),
                stanza(
                    "image-7.3.4-cloud-amd64",
                    "7.3.4-1",
                    "linux-binary-7.3.4 (= 7.3.4-1), linux-modules-7.3.4 (= 7.3.4-1)",
                ),
                stanza("binary-7.3.4", "7.3.4-1", ""),
                stanza("modules-7.3.4", "7.3.4-1", ""),
            ]
            .join("\n"),
        )
    }

    #[test]
    fn the_newest_image_is_taken_and_signed_where_it_can_be() {
        let available = available();
        let found = newest(&available, &SERIES[1], Architecture::Amd64).unwrap();
        let names: Vec<_> = found.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["linux-image-6.1.0-56-cloud-amd64"]);
        assert_eq!(newest(&available, &SERIES[2], Architecture::Amd64), None);
        assert_eq!(newest(&available, &SERIES[1], Architecture::Arm64), None);
    }

    #[test]
    fn an_empty_image_brings_its_parts() {
        let available = available();
        let found = newest(&available, &SERIES[4], Architecture::Amd64).unwrap();
        let names: Vec<_> = found.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names[1..], ["linux-binary-7.3.4", "linux-modules-7.3.4"]);
    }
}
