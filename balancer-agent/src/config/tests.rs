use std::fs;

use super::*;

fn around() -> Surroundings {
    Surroundings { node_name: "worker-1".into(), cgroup: Some("/cg".into()) }
}

fn minimal() -> Settings {
    Settings { manifests: Some("/m".into()), ..Settings::default() }
}

fn read(text: &str) -> Result<Settings, FileError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.yaml");
    fs::write(&path, text).expect("a written file");
    Settings::read(&path)
}

#[test]
fn gaps_are_filled() {
    let config = minimal().resolve(around()).expect("a valid configuration");
    assert_eq!(config.node_name, "worker-1");
    assert_eq!(config.cgroup, Path::new("/cg"));
    assert_eq!(config.bpffs, Path::new(DEFAULT_BPFFS));
    assert_eq!(config.metrics_bind_address.to_string(), DEFAULT_METRICS);
    assert_eq!(config.healthz_bind_address.to_string(), DEFAULT_HEALTHZ);
    assert_eq!(config.capacities, Capacities::default());
}

#[test]
fn flags_win_over_the_file() {
    let flags = Settings { node_name: Some("flag".into()), ..Settings::default() };
    let file = read("nodeName: file\nmaxSlots: 9\nlogFormat: json\n").expect("a valid file");
    let both = flags.or(file);
    assert_eq!(both.node_name.as_deref(), Some("flag"));
    assert_eq!(both.max_slots, Some(9));
    assert_eq!(both.log_format, Some(LogFormat::Json));
}

#[test]
fn a_file_of_comments_sets_nothing() {
    assert_eq!(read("# nothing\n").expect("a valid file"), Settings::default());
    assert_eq!(read("").expect("a valid file"), Settings::default());
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    let settings = read("\u{feff}maxSlots: 4096\r\nmaxServices: 100\r\n").expect("a valid file");
    assert_eq!((settings.max_slots, settings.max_services), (Some(4096), Some(100)));
}

#[test]
fn errors_of_the_file_name_file_and_key() {
    for (text, want) in [
        ("maxSlotz: 3\n", "unknown field `maxSlotz`"),
        ("maxSlots: many\n", "maxSlots: invalid u32 at line 1"),
        ("logFormat: xml\n", "logFormat: unknown variant `xml`"),
        ("- a\n", "expected mapping"),
    ] {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(want), "{text:?}: {error:?} does not contain {want:?}");
        assert!(error.contains("config.yaml"), "{error:?} does not name the file");
    }
}

#[test]
fn bad_values_name_their_flag() {
    let range = |text: &str| Some(vec!["primary".to_owned(), text.to_owned()]);
    let cases: [(Settings, &str); 11] = [
        (
            Settings { kubeconfig: Some("/k".into()), ..minimal() },
            "--manifests and --kubeconfig exclude each other",
        ),
        (
            Settings { metrics_bind_address: Some("10349".into()), ..minimal() },
            "--metrics-bind-address \"10349\"",
        ),
        (
            Settings { peers: Some("peers".into()), ..minimal() },
            "--peers \"peers\" is no NAMESPACE/NAME",
        ),
        (
            Settings { peer_key: Some("/k".into()), ..minimal() },
            "--peer-key is given and --peers is not",
        ),
        (
            Settings {
                peers: Some("kube-system/peers".into()),
                peer_bind_address: Some("10357".into()),
                ..minimal()
            },
            "--peer-bind-address \"10357\" is not ADDRESS:PORT",
        ),
        (Settings { max_backends: Some(0), ..minimal() }, "--max-backends 0 is out of range"),
        (Settings { max_slots: Some(u32::MAX), ..minimal() }, "--max-slots 4294967295 is out of"),
        (Settings { node_name: Some("Node_1".into()), ..minimal() }, "--node-name \"Node_1\""),
        (Settings { socket: Some("".into()), ..minimal() }, "--socket is empty"),
        (
            Settings { node_port_addresses: range("10.0.0.1"), ..minimal() },
            "--nodeport-addresses \"primary\" is no range of addresses",
        ),
        (
            Settings { node_port_addresses: Some(vec!["10.0.0.0/33".into()]), ..minimal() },
            "--nodeport-addresses \"10.0.0.0/33\" is no range of addresses",
        ),
    ];
    for (settings, want) in cases {
        let error = settings.resolve(around()).expect_err(want).to_string();
        assert!(error.contains(want), "{error:?} does not contain {want:?}");
    }
}

#[test]
fn node_ports_are_at_the_primary_addresses_or_in_ranges() {
    let of = |text: &str| {
        let settings = read(text).expect("a valid file").or(minimal());
        settings.resolve(around()).expect("a valid configuration").node_ports
    };
    let ranges = ["192.0.2.0/24", "fd00::/8"].map(|range| range.parse().unwrap());
    for (text, want) in [
        ("nodePortAddresses: [all]", NodePortAddresses::All),
        ("", NodePortAddresses::Primary),
        ("nodePortAddresses: []", NodePortAddresses::Primary),
        ("nodePortAddresses: [primary]", NodePortAddresses::Primary),
        ("nodePortAddresses: [192.0.2.9/24, ' fd00::/8']", NodePortAddresses::In(ranges.into())),
    ] {
        assert_eq!(of(text), want.into(), "{text}");
    }
    for (text, addresses) in [
        ("nodePortAddresses: [localhost]", NodePortAddresses::In(Vec::new())),
        ("nodePortAddresses: [primary, localhost]", NodePortAddresses::Primary),
        ("nodePortAddresses: [localhost, all]", NodePortAddresses::All),
    ] {
        let want = NodePorts { addresses, localhost: true, peers: None };
        assert_eq!(of(text), want, "{text}");
    }
    let peers = of("peers: kube-system/agents").peers.expect("as they are named");
    assert_eq!(peers.to_string(), "kube-system/agents");
}

#[test]
fn no_cgroup_is_the_fault_of_the_node() {
    let nowhere = Surroundings { cgroup: None, ..around() };
    let error = minimal().resolve(nowhere).expect_err("no cgroup");
    assert!(matches!(error, ConfigError::NoCgroup(_)), "{error:?}");
}

#[test]
fn the_source_is_the_cluster_unless_a_folder_is_named() {
    let origin = |settings: Settings| settings.resolve(around()).expect("settings").source;
    assert_eq!(origin(Settings::default()), Origin::Cluster { kubeconfig: None });
    let file = Settings { kubeconfig: Some("/k".into()), ..Settings::default() };
    assert_eq!(origin(file), Origin::Cluster { kubeconfig: Some("/k".into()) });
    assert_eq!(origin(minimal()), Origin::Folder("/m".into()));
}

#[test]
fn peers_are_named_by_their_service() {
    let text = "peers: kube-system/peers\npeerKey: /k\npeerBindAddress: '[::1]:1'\n";
    let settings = read(text).expect("a valid file").or(minimal());
    let peers = settings.resolve(around()).expect("a valid configuration").peers;
    let want = PeersConfig {
        service: ObjectRef { namespace: "kube-system".into(), name: "peers".into() },
        bind_address: Some("[::1]:1".parse().unwrap()),
        key: Some("/k".into()),
    };
    assert_eq!(peers, Some(want));
    assert_eq!(minimal().resolve(around()).expect("a valid configuration").peers, None);
}
