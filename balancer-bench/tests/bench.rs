//! The benches, at their smallest. Needs root and the agent's binary.

use std::time::Duration;

use balancer_bench::bench::{self, Bench, Clusters, Effort, Moves};
use indicatif::ProgressBar;
use serde_json::Value;

fn rows(bench: Bench) -> Vec<Value> {
    tables(bench).swap_remove(0)
}

fn tables(bench: Bench) -> Vec<Vec<Value>> {
    let moves = Moves {
        trials: 2,
        ends: 2,
        budgets: Vec::new(),
        changes: 1,
        connections: 4_000,
        only: None,
    };
    let effort = Effort {
        rounds: 2,
        connects: 50,
        trials: 10,
        services: vec![1, 20],
        many: Some(40),
        idle: Duration::from_secs(2),
        moves,
        clusters: Clusters {
            nodes: 0,
            played: 0,
            simulated_nodes: 10,
            runs: 3,
            only: None,
            changes: 5,
            over: Duration::from_secs(1),
        },
    };
    tables_of(bench, &effort)
}

fn tables_of(bench: Bench, effort: &Effort) -> Vec<Vec<Value>> {
    let report = bench::run(bench, effort, &ProgressBar::hidden())
        .unwrap_or_else(|error| panic!("{bench:?}: {error}; the benches need root"));
    let json = report.json();
    let tables = json["tables"].as_array().expect("tables").iter();
    tables.map(|table| table["rows"].as_array().expect("rows").clone()).collect()
}

fn number(row: &Value, column: &str) -> f64 {
    row[column].as_f64().unwrap_or_else(|| panic!("{column} is no number: {row}"))
}

fn of<'a>(rows: &'a [Value], variant: &str) -> Vec<&'a Value> {
    let found: Vec<&Value> = rows.iter().filter(|row| row["variant"] == variant).collect();
    assert!(!found.is_empty(), "no {variant} in {rows:?}");
    found
}

#[test]
fn connect_compares_every_number_of_services_with_direct() {
    let rows = rows(Bench::Connect);
    let services: Vec<&Value> =
        of(&rows, "balancer").into_iter().map(|row| &row["services"]).collect();
    assert_eq!(services, [1, 20, 40]);
    for row in &rows {
        assert!(row["p50_us"].as_f64().is_some_and(|time| time > 1.0), "{row}");
    }
    for row in of(&rows, "kube-proxy, nftables") {
        assert!(row["p50_ratio"]["median"].as_f64().is_some_and(|ratio| ratio > 0.0), "{row}");
    }
}

#[test]
fn traffic_is_carried_by_every_variant() {
    for row in rows(Bench::Traffic) {
        assert!(row["bulk_gigabytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
    }
}

#[test]
fn choice_takes_longer_than_nothing() {
    let tables = tables(Bench::Choice);
    let [rows, ways] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(rows.len(), 16, "{rows:?}");
    let above = |row: &Value| row["connect4_above_ns"].as_f64().expect("a number");
    assert!(above(&rows[7]) > above(&rows[2]), "1,024 backends beside 1: {rows:?}");
    assert_eq!(ways.len(), 11, "{ways:?}");
    for way in ways {
        assert!(way["above_ns"].as_f64().is_some_and(|nanos| nanos > 10.0), "{way}");
    }
}

#[test]
fn balancer_is_as_even_as_can_be() {
    let rows = rows(Bench::Balance);
    let rows = of(&rows, "balancer");
    let policy =
        |policy: &str| rows.iter().filter(|row| row["policy"] == policy).collect::<Vec<_>>();
    for row in policy("least-connections") {
        assert_eq!(row["even_percent"], 100.0, "{row}");
    }
    assert_eq!(policy("random").len(), policy("round-robin").len());
}

#[test]
fn connections_come_to_where_they_belong() {
    let tables = tables(Bench::Rebalance);
    let [rollout, calls, scale_out, churn, pass] = &tables[..] else { panic!("{tables:?}") };
    let of = |rows: &[Value], what: &str, column: &str| {
        let row = rows.iter().find(|row| row["what"] == what);
        row.unwrap_or_else(|| panic!("no {what} in {rows:?}"))[column].clone()
    };
    for clients in ["hyper", "tonic"] {
        assert_eq!(of(rollout, "trials", clients), 2, "{rollout:?}");
        assert_eq!(of(rollout, "most in a trial", clients), 13, "{rollout:?}");
        let longest = of(rollout, "longest", clients).as_f64();
        assert!(longest.is_some_and(|seconds| (2.0..30.0).contains(&seconds)), "{rollout:?}");
    }
    for row in calls {
        assert_eq!(row["failed"], 0, "{row}");
    }
    assert!(scale_out.is_empty(), "{scale_out:?}");
    assert_eq!(of(churn, "changes", "measured"), 1);
    assert!(of(churn, "answered", "measured").as_u64().is_some_and(|count| count > 1_000));
    let time = of(pass, "a pass, median", "measured").as_f64();
    assert!(time.is_some_and(|millis| (0.1..1e3).contains(&millis)), "{pass:?}");
}

#[test]
fn agents_of_several_nodes_are_as_even_as_simulated_ones_and_told_of_every_change() {
    let clusters = Clusters {
        nodes: 5,
        played: 0,
        simulated_nodes: 0,
        runs: 8,
        only: Some("5n 5b".into()),
        changes: 0,
        over: Duration::ZERO,
    };
    let effort = Effort { clusters, ..Effort::quick() };
    let rows = &tables_of(Bench::Cluster, &effort)[0];
    let [turns] = &rows[..] else { panic!("{rows:?}") };
    assert!(number(turns, "cluster_gap") < number(turns, "local_gap"), "{turns}");

    let over = Duration::from_secs(1);
    let clusters =
        Clusters { only: None, runs: 0, changes: 5, over, played: 20, ..effort.clusters };
    let tables = tables_of(Bench::Cluster, &Effort { clusters, ..effort });
    let [_, told, taken, many] = &tables[..] else { panic!("{tables:?}") };
    let measured = |rows: &[Value], index: usize| number(&rows[index], "measured");
    assert!((1.0..1_000.0).contains(&measured(told, 0)), "{told:?}");
    assert_eq!((taken.len(), many.len()), (9, 5), "{taken:?}, {many:?}");
    assert!(measured(many, 4) > 1_000.0, "forged datagrams arrive and are refused: {many:?}");
    assert!(measured(taken, 3) < measured(taken, 7), "more is said where more changes: {taken:?}");
}

#[test]
fn counts_of_the_cluster_are_nearly_ideal() {
    let rows = rows(Bench::Cluster);
    assert_eq!(rows.len(), 5, "workloads of at most 10 nodes: {rows:?}");
    for row in &rows {
        let cv = |who: &str| number(row, who);
        assert!(cv("cluster_cv") < 0.7 * cv("local_cv"), "{row}");
        // Nodes that have one connection each throw dice, whatever they count.
        let is_dice = row["workload"].as_str().is_some_and(|name| name.contains("1 a node"));
        assert!(is_dice || cv("local_cv") < cv("dice_cv"), "{row}");
    }
    let life = &rows[0];
    assert!(number(life, "cluster_cv") < 1.25 * number(life, "ideal_cv"), "{life}");
}
