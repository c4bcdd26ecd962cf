//! What holds for whatever a configuration says.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn settings() -> impl Strategy<Value = Settings> {
    let path = || prop::option::of("/[a-z/]{1,20}".prop_map(PathBuf::from));
    let size = || prop::option::of(any::<u32>());
    let address = || prop::option::of("[0-9a-z.:\\[\\]]{0,20}");
    (
        (path(), path(), path(), path()),
        (prop::option::of("[a-zA-Z0-9.-]{0,20}"), address(), address()),
        prop::option::of(prop::collection::vec("[0-9a-f:./]{0,20}", 0..4)),
        (size(), size(), size(), any::<Option<bool>>()),
    )
        .prop_map(|(paths, names, ports, sizes)| Settings {
            manifests: paths.0,
            cgroup: paths.1,
            bpffs: paths.2,
            socket: paths.3,
            node_name: names.0,
            metrics_bind_address: names.1,
            healthz_bind_address: names.2,
            node_port_addresses: ports,
            max_services: sizes.0,
            max_backends: sizes.1,
            max_slots: sizes.2,
            health_check_node_ports: sizes.3,
            ..Settings::default()
        })
}

fn around() -> Surroundings {
    Surroundings { node_name: "node-1".into(), cgroup: Some("/sys/fs/cgroup".into()) }
}

fn read(text: &str) -> Result<Settings, FileError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("agent.yaml");
    fs::write(&file, text).expect("a file");
    Settings::read(&file)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(settings in settings()) {
        let text = serde_saphyr::to_string(&settings).expect("YAML");
        prop_assert_eq!(read(&text).expect("the same settings"), settings);
    }

    #[test]
    fn what_is_accepted_is_within_the_limits(settings in settings()) {
        if let Ok(config) = settings.resolve(around()) {
            let Capacities { services, backends, slots } = config.capacities;
            let most = Capacities::MAX;
            prop_assert!((1..=most.services).contains(&services));
            prop_assert!((1..=most.backends).contains(&backends));
            prop_assert!((1..=most.slots).contains(&slots));
            for path in [&config.cgroup, &config.bpffs, &config.socket] {
                prop_assert!(path.is_absolute(), "{}", path.display());
            }
        }
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named(text in "[ -~\n]{0,120}|.{0,60}") {
        if let Err(error) = read(&text) {
            prop_assert!(error.to_string().contains("agent.yaml"), "{error}");
        }
    }

    #[test]
    fn the_first_settings_win(first in settings(), second in settings()) {
        let both = first.clone().or(second.clone());
        prop_assert_eq!(&both.max_slots, &first.max_slots.or(second.max_slots));
        prop_assert_eq!(first.clone().or(Settings::default()), first);
        prop_assert_eq!(Settings::default().or(second.clone()), second);
    }
}
