//! Debian's Prometheus scrapes an agent, by the rules of deploy/monitoring: each alert whose cause can be
//! made here fires on it, and clears.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Lab, Place,
    http::Server,
    manifests::{Manifests, Service},
};
use serde_json::{Value, json};

use crate::common::{Connections, VIP, address, await_shown, dial, in_use, serve};

const METRICS: &str = "127.0.0.1:10349";
const PROMETHEUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// How often it asks, and looks at the rules.
const PACE: &str = "250ms";
/// How long an alert may take to fire or to clear.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rules, with seconds in place of minutes, and without a time for which a cause must last.
fn rules() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring/rules.yaml");
    let text = fs::read_to_string(path).expect("the rules");
    let object: Value = serde_saphyr::from_str(&text).expect("YAML");
    let mut groups = object["spec"]["groups"].clone();
    for rule in groups[0]["rules"].as_array_mut().expect("rules") {
        let mut expression = rule["expr"].as_str().expect("an expression").to_owned();
        for (minutes, seconds) in
            [("[10m]", "[5s]"), ("[15m]", "[5s]"), ("[5m]", "[5s]"), ("offset 10m", "offset 5s")]
        {
            expression = expression.replace(minutes, seconds);
        }
        rule["expr"] = expression.into();
        rule["for"] = "0s".into();
    }
    // JSON is YAML.
    json!({ "groups": groups }).to_string()
}

/// Prometheus in the network of the node. Killed when dropped.
struct Prometheus {
    child: Child,
    node: Place,
    log: PathBuf,
}

impl Prometheus {
    fn start(lab: &Lab) -> Self {
        let folder = lab.state_dir().join("prometheus");
        fs::create_dir_all(&folder).expect("a folder");
        let file = |name: &str| folder.join(name);
        fs::write(file("rules.yaml"), rules()).expect("written");
        let config = json!({
            "global": {"scrape_interval": PACE, "scrape_timeout": PACE, "evaluation_interval": PACE},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": "balancer-agent", "static_configs": [{"targets": [METRICS]}]},
            ],
        });
        fs::write(file("prometheus.yaml"), config.to_string()).expect("written");
        let log = file("log");
        let mut command = lab.node().command("prometheus");
        command
            .arg(format!("--config.file={}", file("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={PROMETHEUS}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"));
        Self { child: command.spawn().expect("started"), node: lab.node().clone(), log }
    }

    /// Names of the alerts that fire; none while it starts.
    fn firing(&self) -> Option<BTreeSet<String>> {
        let answer = self.node.within(ask).expect("entered").ok()?;
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        let alerts = body["data"]["alerts"].as_array()?.iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        firing.map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }

    /// Waits until an alert fires, or does not; `again` keeps up its cause meanwhile.
    #[track_caller]
    fn until(&self, alert: &str, fires: bool, again: impl Fn()) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            again();
            let firing = self.firing();
            if firing.as_ref().is_some_and(|all| all.contains(alert) == fires) {
                return;
            }
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "{alert} {fires}: {firing:?}\n{}", log());
            sleep(Duration::from_millis(100));
        }
    }

    /// It fires with its cause and clears without it.
    #[track_caller]
    fn follows(&self, alert: &str, cause: impl FnOnce(), cure: impl FnOnce()) {
        self.until(alert, false, || ());
        cause();
        self.until(alert, true, || ());
        cure();
        self.until(alert, false, || ());
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(PROMETHEUS)?;
    stream.write_all(b"GET /api/v1/alerts HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A pin of the agent, if it is below this folder.
fn pin(below: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(below).ok()?.flatten();
    entries.find_map(|entry| {
        let path = entry.path();
        if entry.file_name() == "NAMES" { Some(path) } else { pin(&path) }
    })
}

#[test]
fn alerts_fire_on_their_causes_and_clear() {
    let version = Command::new("prometheus").arg("--version").output();
    if version.is_err() {
        eprintln!("left out: there is no prometheus");
        return;
    }
    let lab = Lab::create("alerts").expect("a lab");
    let client = lab.pod("client", address(200)).expect("a pod");
    let pods = lab.pods((1..=4).map(|n| (format!("web-{n}"), address(n)))).expect("pods");
    // Nobody serves in the last.
    let mut servers: Vec<Server> = pods[..3].iter().map(serve).collect();
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    let web = |numbers: &[u8]| {
        let ips = numbers.iter().map(|number| address(*number));
        manifests.write(&Service::new("web", VIP, 80, 8080, ips)).expect("written");
    };
    web(&[1]);
    let options = ["--metrics-bind-address", METRICS, "--max-backends", "8"];
    let mut agent = Agent::start(&lab, manifests.dir(), &options).expect("an agent");
    let prometheus = Prometheus::start(&lab);
    prometheus.until("BalancerDown", false, || ());

    let broken = manifests.dir().join("broken.yaml");
    prometheus.follows(
        "BalancerProblems",
        || fs::write(&broken, "--- [\n").expect("written"),
        || fs::remove_file(&broken).expect("removed"),
    );
    prometheus.follows("BalancerMapNearlyFull", || web(&[1, 2, 3, 5, 6, 7, 8]), || web(&[1]));
    let flags = agent.where_flags();
    let bpffs = flags.iter().skip_while(|flag| *flag != "--bpffs").nth(1).expect("a folder");
    prometheus.follows(
        "BalancerMended",
        || fs::remove_file(pin(Path::new(bpffs)).expect("a pin")).expect("removed"),
        || (),
    );

    let many = Connections::open(client.place(), (VIP, 80), 36).opened((VIP, 80));
    prometheus.follows("BalancerUnbalanced", || web(&[1, 2, 3]), || drop(many));

    web(&[1, 4]);
    await_shown(&agent, |all| in_use(&all[0]) == [1, 4]);
    let dials = || drop((0..4).map(|_| dial(client.place(), (VIP, 80))).collect::<Vec<_>>());
    prometheus.until("BalancerSuspectBackend", true, dials);
    servers.push(serve(&pods[3]));
    prometheus.until("BalancerSuspectBackend", false, dials);

    agent.kill().expect("killed");
    prometheus.until("BalancerDown", true, || ());
    agent.resume().expect("started again");
    prometheus.until("BalancerDown", false, || ());
    assert_eq!(prometheus.firing(), Some(BTreeSet::new()));
}
