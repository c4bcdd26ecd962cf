//! What Prometheus and Grafana are given. That their metrics are those of the agent is a test of
//! `balancer-agent/src/metrics`.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{deploy, kustomize::yaml, objects::the, render::kept};

fn rules() -> Value {
    let groups = yaml(&deploy().join("monitoring/rules.yaml"))["spec"]["groups"].clone();
    assert!(groups[0]["rules"].as_array().is_some_and(|rules| !rules.is_empty()), "{groups}");
    groups
}

#[test]
fn every_alert_has_its_runbook() {
    let mut listed = Vec::new();
    for rule in rules()[0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("a name");
        let url = rule["annotations"]["runbook_url"].as_str().expect("a runbook");
        assert_eq!(url, format!("docs/runbooks/{name}.md"));
        let text = fs::read_to_string(deploy().join("..").join(url)).expect(url);
        assert!(text.starts_with(&format!("# {name}\n")), "{url}");
        // The page shows the expression that is there.
        let expression = rule["expr"].as_str().expect("an expression");
        assert!(text.contains(&format!("```promql\n{expression}```\n")), "{url}: {expression}");
        for part in ["## What it means", "## How to look", "## What to do"] {
            assert!(text.contains(part), "{url}: {part}");
        }
        // The image has no PATH.
        assert!(text.contains("exec POD -- /balancer-agent status`"), "{url}");
        assert!(!text.contains("-- balancer-agent"), "{url}");
        listed.push(format!("{name}.md"));
    }
    listed.push("README.md".to_owned());
    listed.sort();
    let pages = fs::read_dir(deploy().join("../docs/runbooks")).expect("a folder");
    let pages = pages.map(|page| page.expect("a page").file_name().into_string().expect("UTF-8"));
    let mut pages: Vec<_> = pages.collect();
    pages.sort();
    assert_eq!(pages, listed);
}

#[test]
fn the_port_that_is_opened_is_the_one_that_is_scraped() {
    let patch = yaml(&deploy().join("monitoring/metrics-port.yaml"));
    let (flag, port) = (patch[0]["value"].as_str().expect("a flag"), &patch[1]["value"]);
    let ends = format!(":{}", port["containerPort"]);
    assert!(flag.starts_with("--metrics-bind-address=") && flag.ends_with(&ends), "{flag}");
    let monitor = yaml(&deploy().join("monitoring/pod-monitor.yaml"));
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], port["name"]);
    let set = yaml(&deploy().join("base/daemonset.yaml"));
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&monitor["spec"]["selector"]["matchLabels"], labels);
    // The rules find the agents by what this label makes of `job`.
    let job = &labels[monitor["spec"]["jobLabel"].as_str().expect("a label")];
    let down = rules()[0]["rules"][0]["expr"].as_str().expect("an expression").to_owned();
    assert!(down.contains(&format!("up{{job={job}}}")), "{down}");
}

/// The chart reads the same files.
#[test]
fn the_chart_has_the_alerts_that_are_not_turned_off() {
    let objects = kept("helm-monitoring");
    let names = |rules: &Value| -> Vec<Value> {
        let rules = rules.as_array().expect("rules").iter();
        rules.map(|rule| rule["alert"].clone()).collect()
    };
    let mut want = names(&rules()[0]["rules"]);
    let values = yaml(&deploy().join("helm/balancer/values.yaml"));
    let switches = values["prometheus"]["rules"]["alerts"].as_object().expect("switches");
    assert_eq!(want.len(), switches.len(), "an alert without a switch is never there");
    want.retain(|name| name != "BalancerSuspectBackend");
    let rule = the(&objects, "PrometheusRule");
    assert_eq!(names(&rule["spec"]["groups"][0]["rules"]), want);
    for object in [rule, the(&objects, "PodMonitor")] {
        assert_eq!(object["metadata"]["labels"]["release"], "prometheus");
    }
    let container = &the(&objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0];
    let patch = yaml(&deploy().join("monitoring/metrics-port.yaml"));
    for (field, added) in [("args", &patch[0]["value"]), ("ports", &patch[1]["value"])] {
        assert!(container[field].as_array().expect("a list").contains(added), "{field}: {added}");
    }
}

#[test]
fn the_dashboard_has_two_rows_of_queries() {
    let board = yaml(&deploy().join("monitoring/dashboard.json"));
    let panels = board["panels"].as_array().expect("panels");
    let (rows, graphs): (Vec<_>, Vec<_>) = panels.iter().partition(|one| one["type"] == "row");
    let titles: Vec<_> = rows.iter().map(|row| row["title"].clone()).collect();
    assert_eq!(titles, [json!("Is it even"), json!("Is it well")]);
    assert!(graphs.len() > 6, "{} panels", graphs.len());
    for graph in graphs {
        assert!(graph["targets"][0]["expr"].is_string(), "{graph}");
        assert!(graph["description"].is_string(), "{graph}");
    }
}

#[test]
fn promtool_takes_the_rules_and_each_fires_on_its_cause() {
    let version = Command::new("promtool").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() {
        eprintln!("left out: there is no promtool");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // JSON is YAML.
    let groups = json!({"groups": rules()}).to_string();
    fs::write(folder.path().join("groups.yaml"), groups).expect("written");
    let tests = "rules.test.yaml";
    fs::copy(deploy().join("monitoring").join(tests), folder.path().join(tests)).expect("copied");
    let board = yaml(&deploy().join("monitoring/dashboard.json"));
    let panels = board["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let query = |(at, target): (usize, &Value)| {
        let name = format!("query{at}");
        json!({"record": name, "expr": target["expr"]})
    };
    let queries: Vec<_> = targets.enumerate().map(query).collect();
    let queries = json!({"groups": [{"name": "dashboard", "rules": queries}]}).to_string();
    fs::write(folder.path().join("queries.yaml"), queries).expect("written");
    for (verb, file) in [("check", "groups.yaml"), ("check", "queries.yaml"), ("test", tests)] {
        let mut command = Command::new("promtool");
        let output = command.args([verb, "rules", file]).current_dir(&folder).output();
        let output = output.expect("promtool");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&said));
    }
}
