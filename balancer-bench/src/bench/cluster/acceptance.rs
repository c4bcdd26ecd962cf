//! The workloads that are simulated, and what is demanded of each.

use std::time::Duration;

use super::{
    figures::{Figures, p95},
    workload::{Burst, Rollout, Rows, Start, Steady, Turns, Workload},
};

/// A workload, how often it is run, and what is demanded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) workload: Workload,
    /// Seeds, for figures to be published.
    pub(super) runs: u64,
    pub(super) demands: &'static [Demand],
}

/// What is demanded of the counts of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) enum Demand {
    /// The mean of the coefficients of variation is at most this.
    Cv(f64),
    /// It is at most so many times that of local counts.
    OverLocal(f64),
    /// The mean of the gaps is at most this.
    Gap(f64),
    /// 95% of the gaps are at most this.
    GapP95(f64),
    /// No gap is larger.
    GapWorst(f64),
}

impl Demand {
    pub(super) fn is_met(self, cluster: &[Figures], local: &[Figures]) -> bool {
        let gaps = || cluster.iter().map(|one| one.gap);
        let mean = Figures::mean(cluster);
        match self {
            Self::Cv(most) => mean.cv <= most,
            Self::OverLocal(times) => mean.cv <= times * Figures::mean(local).cv,
            Self::Gap(most) => mean.gap <= most,
            Self::GapP95(most) => p95(gaps()) <= most,
            Self::GapWorst(most) => gaps().all(|gap| gap <= most),
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Cv(most) => format!("cv {most}"),
            Self::OverLocal(times) => format!("cv {times} x local"),
            Self::Gap(most) => format!("gap {most}"),
            Self::GapP95(most) => format!("gap {most} in 95%"),
            Self::GapWorst(most) => format!("gap {most} always"),
        }
    }
}

const fn steady(nodes: usize, backends: usize, mean: f64, life: f64) -> Workload {
    let rows = Rows::All;
    Workload::Steady(Steady { nodes, backends, mean, life, rows, agents_end: false })
}

const fn zones(rows: Rows) -> Workload {
    let (nodes, backends, mean, life) = (60, 15, 20.0, 100.0);
    Workload::Steady(Steady { nodes, backends, mean, life, rows, agents_end: false })
}

const fn start(nodes: usize, backends: usize, per_node: usize, seconds: u64) -> Workload {
    Workload::Start(Start { nodes, backends, per_node, within: Duration::from_secs(seconds) })
}

const fn turns(nodes: usize, backends: usize, per_node: usize) -> Workload {
    Workload::Turns(Turns { nodes, backends, per_node })
}

const fn rollout(nodes: usize, backends: usize, per_node: usize, surge: bool) -> Workload {
    Workload::Rollout(Rollout { nodes, backends, per_node, surge })
}

const fn case(
    name: &'static str,
    runs: u64,
    workload: Workload,
    demands: &'static [Demand],
) -> Case {
    Case { name, workload, runs, demands }
}

use Demand::{Cv, Gap, GapP95, GapWorst, OverLocal};

/// All, the small clusters first of their kind. `n` nodes, `b` backends, `m` connections of a
/// backend.
pub(super) const CASES: [Case; 28] = [
    case("7n 5b m4, life 100 s", 24, steady(7, 5, 4.0, 100.0), &[Cv(0.20), OverLocal(0.7)]),
    case("10n 5b m10, life 20 s", 24, steady(10, 5, 10.0, 20.0), &[Cv(0.095), Gap(2.5)]),
    case("20n 5b m4, life 20 s", 24, steady(20, 5, 4.0, 20.0), &[Cv(0.22), Gap(2.2)]),
    case("20n 5b m20, life 20 s", 24, steady(20, 5, 20.0, 20.0), &[Cv(0.060), Gap(3.2)]),
    case("20n 10b m10, life 30 s", 24, steady(20, 10, 10.0, 30.0), &[Cv(0.10), Gap(3.0)]),
    case("50n 10b m10, life 20 s", 10, steady(50, 10, 10.0, 20.0), &[Cv(0.11), Gap(3.3)]),
    case("50n 20b m20, life 30 s", 10, steady(50, 20, 20.0, 30.0), &[Cv(0.060), Gap(4.6)]),
    case("100n 20b m20, life 100 s", 2, steady(100, 20, 20.0, 100.0), &[Cv(0.050)]),
    case("500n 100b m20, life 100 s", 1, steady(500, 100, 20.0, 100.0), &[Cv(0.048)]),
    case("500n 100b m200, life 100 s", 1, steady(500, 100, 200.0, 100.0), &[Cv(0.009)]),
    case("2000n 1000b m20, life 100 s", 1, steady(2000, 1000, 20.0, 100.0), &[]),
    case("20n 5b m20, life 2 s", 24, steady(20, 5, 20.0, 2.0), &[OverLocal(1.0)]),
    case("60n 15b m20, rows by zone", 4, zones(Rows::OfZone), &[Cv(0.092)]),
    case("60n 15b m20, half by zone", 4, zones(Rows::Mixed), &[Cv(0.055)]),
    case(
        "20n 5b m20, the agents end",
        10,
        Workload::Steady(Steady {
            nodes: 20,
            backends: 5,
            mean: 20.0,
            life: 100.0,
            rows: Rows::All,
            agents_end: true,
        }),
        &[OverLocal(1.2)],
    ),
    case("5n 5b, 1 a node, one node after another", 200, turns(5, 5, 1), &[GapWorst(0.0)]),
    case("7n 5b, 3 a node, one node after another", 200, turns(7, 5, 3), &[GapP95(1.0)]),
    case("start 20n 5b, 1 a node in 5 s", 60, start(20, 5, 1, 5), &[Cv(0.20), GapP95(4.0)]),
    case("start 20n 5b, 1 a node in 20 s", 60, start(20, 5, 1, 20), &[Cv(0.09), GapP95(2.0)]),
    case("start 10n 5b, 2 a node in 5 s", 60, start(10, 5, 2, 5), &[Cv(0.19)]),
    case("start 50n 20b, 10 a node in 1 s", 40, start(50, 20, 10, 1), &[Cv(0.12)]),
    case("start 50n 20b, 10 a node in 5 s", 40, start(50, 20, 10, 5), &[Cv(0.068)]),
    case(
        "one client opens 20, 20n 5b",
        60,
        Workload::Burst(Burst { nodes: 20, backends: 5, connections: 20 }),
        &[Cv(0.16)],
    ),
    // The level is used up long before the next one: a row has as many backends as are scanned.
    case(
        "one client opens 2048, 20n 1024b",
        20,
        Workload::Burst(Burst { nodes: 20, backends: 1_024, connections: 2_048 }),
        &[GapP95(1.0)],
    ),
    case("start 20n 1024b, 256 a node in 5 s", 4, start(20, 1_024, 256, 5), &[]),
    case(
        "rollout with surge, 20n 3b, 1 a node",
        40,
        rollout(20, 3, 1, true),
        &[GapP95(1.0), GapWorst(2.0)],
    ),
    case(
        "rollout with surge, 50n 10b, 4 a node",
        20,
        rollout(50, 10, 4, true),
        &[GapP95(1.0), GapWorst(2.0)],
    ),
    case("rollout without, 50n 10b, 4 a node", 20, rollout(50, 10, 4, false), &[Gap(27.0)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_of_what_they_name() {
        let figures = |cv, gap| Figures { cv, max_over_mean: 1.0, gap };
        let (cluster, local) = ([figures(0.1, 1.0), figures(0.3, 3.0)], [figures(0.4, 9.0)]);
        let met = |demand: Demand| demand.is_met(&cluster, &local);
        assert!(met(Cv(0.21)) && !met(Cv(0.19)));
        assert!(met(OverLocal(0.6)) && !met(OverLocal(0.4)));
        assert!(met(Gap(2.0)) && !met(Gap(1.9)));
        assert!(met(GapP95(3.0)) && !met(GapP95(2.0)));
        assert!(met(GapWorst(3.0)) && !met(GapWorst(2.9)));
    }
}
