//! Kernels from Debian's archive, through apt, whose state and sources are its own: those of the
//! machine stay as they are. What was unpacked once is used again, also without a network.

mod apt;
mod index;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::series::Series;
use crate::{architecture::Architecture, process, ui};
use apt::Apt;
use index::Package;

/// A kernel that is there, unpacked.
#[derive(Debug)]
pub struct Kernel {
    /// What `uname -r` says there.
    pub release: String,
    /// The image to boot.
    pub image: PathBuf,
    /// The folder below which its modules are.
    pub modules: PathBuf,
}

/// The kernels that can be had here.
pub struct Archive {
    folder: PathBuf,
    architecture: Architecture,
    /// Why no more can be had than what is in the folder already.
    apt: Result<(Apt, Vec<Package>)>,
}

impl Archive {
    /// Asks Debian's archive what it has; a failure is kept for those who ask for a kernel.
    pub fn open(folder: &Path, architecture: Architecture) -> Self {
        let asked = Apt::prepare(&folder.join("apt"), architecture).and_then(|apt| {
            let packages = index::parse(&apt.available()?);
            Ok((apt, packages))
        });
        if let Err(error) = &asked {
            ui::note(&format!("no new packages: {error:#}"));
        }
        Self { folder: folder.to_owned(), architecture, apt: asked }
    }

    /// The newest kernel of a series, downloaded unless it was before.
    pub fn kernel(&self, series: &Series) -> Result<Kernel> {
        let home = self.folder.join(series.name);
        let (apt, packages) = match &self.apt {
            Ok(apt) => apt,
            Err(error) => return unpacked(&home).with_context(|| format!("{error:#}")),
        };
        let wanted = index::newest(packages, series, self.architecture).with_context(|| {
            format!("no package of this kernel in {}", series.suites.join(", "))
        })?;
        let stamp = home.join("package");
        let name = format!("{} {}", wanted[0].name, wanted[0].version);
        if fs::read_to_string(&stamp).is_ok_and(|there| there == name) {
            return unpacked(&home);
        }
        // Older ones would only fill the disk; a half one has no stamp.
        if home.exists() {
            fs::remove_dir_all(&home).with_context(|| format!("removing {}", home.display()))?;
        }
        fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
        for package in &wanted {
            let file = apt.download(package, &home)?;
            unpack(&file, &home.join("root"))?;
            fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        }
        fs::write(&stamp, name).with_context(|| format!("writing {}", stamp.display()))?;
        unpacked(&home)
    }
}

fn unpack(package: &Path, root: &Path) -> Result<()> {
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(package).arg(root);
    process::shown(&mut command).with_context(|| format!("unpacking {}", package.display()))
}

/// Finds image and modules: older packages have them below `/boot` and `/lib`, newer ones beside
/// each other below `/usr/lib`.
fn unpacked(home: &Path) -> Result<Kernel> {
    let root = home.join("root");
    for lib in ["usr/lib/modules", "lib/modules"] {
        let Ok(entries) = fs::read_dir(root.join(lib)) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let release = entry.file_name().to_string_lossy().into_owned();
            let images =
                [entry.path().join("vmlinuz"), root.join(format!("boot/vmlinuz-{release}"))];
            if let Some(image) = images.into_iter().find(|image| image.is_file()) {
                return Ok(Kernel { release, image, modules: entry.path().join("kernel") });
            }
        }
    }
    bail!("no kernel in {}", root.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_of_packages_are_found() {
        for (image, release) in [
            ("boot/vmlinuz-6.1.0-56-cloud-amd64", "6.1.0-56-cloud-amd64"),
            ("usr/lib/modules/7.3.4-cloud/vmlinuz", "7.3.4-cloud"),
        ] {
            let home = tempfile::tempdir().unwrap();
            let lib = if image.starts_with("boot") { "lib" } else { "usr/lib" };
            let modules = home.path().join("root").join(lib).join("modules").join(release);
            fs::create_dir_all(modules.join("kernel")).unwrap();
            let image = home.path().join("root").join(image);
            fs::create_dir_all(image.parent().unwrap()).unwrap();
            fs::write(&image, "").unwrap();
            let kernel = unpacked(home.path()).unwrap();
            assert_eq!((kernel.release.as_str(), kernel.image), (release, image));
        }
    }

    #[test]
    fn without_apt_and_without_a_kernel_both_reasons_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let apt = Err(anyhow::anyhow!("no network"));
        let archive =
            Archive { folder: folder.path().to_owned(), architecture: Architecture::Amd64, apt };
        let error = format!("{:#}", archive.kernel(&super::super::series::SERIES[1]).unwrap_err());
        assert!(error.contains("no network") && error.contains("no kernel in"), "{error}");
    }
}
