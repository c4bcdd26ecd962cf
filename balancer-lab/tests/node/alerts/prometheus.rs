//! Debian's Prometheus, with the rules of deploy/monitoring.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use balancer_lab::{Lab, Place};
use serde_json::{Value, json};

/// Set to 1, this leaves tests out where there is no Prometheus.
const WITHOUT: &str = "BALANCER_WITHOUT_PROMETHEUS";

/// True where there is one. Fails where there is none, unless tests are to be left out then.
pub fn is_there() -> bool {
    let found = Command::new("prometheus").arg("--version").output().is_ok();
    let without = std::env::var_os(WITHOUT).is_some_and(|value| value == "1");
    assert!(
        found || without,
        "there is no prometheus: `cargo xtask setup` installs it; {WITHOUT}=1 leaves its tests out"
    );
    found
}

pub const METRICS: &str = "127.0.0.1:10349";
const PROMETHEUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
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
        for (minutes, seconds) in [
            ("[10m]", "[5s]"),
            ("[15m]", "[5s]"),
            ("[5m]", "[5s]"),
            ("offset 10m", "offset 5s"),
            ("> 180", "> 3"),
        ] {
            expression = expression.replace(minutes, seconds);
        }
        rule["expr"] = expression.into();
        rule["for"] = "0s".into();
    }
    // JSON is YAML.
    json!({ "groups": groups }).to_string()
}

/// Prometheus in the network of the node. Killed when dropped.
pub struct Prometheus {
    child: Child,
    node: Place,
    log: PathBuf,
}

impl Prometheus {
    pub fn start(lab: &Lab) -> Self {
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
        let child = command.spawn().expect("prometheus; `cargo xtask setup` installs it");
        Self { child, node: lab.node().clone(), log }
    }

    /// Names of the alerts that fire; none while it starts.
    pub fn firing(&self) -> Option<BTreeSet<String>> {
        let answer = self.node.within(ask).expect("entered").ok()?;
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        let alerts = body["data"]["alerts"].as_array()?.iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        firing.map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }

    /// Waits until an alert fires, or does not; `again` keeps up its cause meanwhile.
    #[track_caller]
    pub fn until(&self, alert: &str, fires: bool, mut again: impl FnMut()) {
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
    pub fn follows(&self, alert: &str, cause: impl FnOnce(), cure: impl FnOnce()) {
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
