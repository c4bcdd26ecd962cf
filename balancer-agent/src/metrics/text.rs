//! Turns a snapshot into the OpenMetrics text format.

use std::{collections::BTreeMap, fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::{
    Scrape, backends, lifetimes::Lifetimes, moves, peers, process::Process, runs,
    services::Services,
};
use crate::{
    config::BackendSeries,
    model::Problem,
    view::{BalancingState, StatusView},
};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MapLabels {
    map: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ProblemLabels {
    object: String,
    field: String,
}

/// Series of problems at most: a folder of broken files must not flood the database of metrics.
/// Those beyond are in `balancer_problems` alone.
const MAX_PROBLEMS: usize = 100;

#[derive(Default)]
struct Families {
    verdicts: Family<VerdictLabels, Counter>,
    used: Family<MapLabels, Gauge>,
    max: Family<MapLabels, Gauge>,
    problems: Gauge,
    object_problems: Family<ProblemLabels, Gauge>,
    ready: Gauge,
    balancing: Family<StateLabels, Gauge>,
    tests: Counter,
    mended: Counter,
}

/// Writes the text of one scrape.
pub(super) fn render(scrape: Scrape, out: &mut impl fmt::Write) -> fmt::Result {
    let Scrape { status, services, totals, series, .. } = scrape;
    let families = Families::default();
    families.fill_status(&status);
    let mut registry = Registry::default();
    let own = registry.sub_registry_with_prefix("balancer");
    families.register(own);
    let services = Services::new(services, totals, series);
    own.register_collector(Box::new(services.clone()));
    runs::register(&scrape.programs, own);
    own.register_collector(Box::new(Lifetimes(scrape.lifetimes)));
    if series != BackendSeries::Off {
        moves::register(scrape.ended, own);
    }
    if let Some(counts) = &status.counts {
        peers::register(counts, own);
    }
    scrape.programming.register(own);
    scrape.mended.register(own);
    if let Some(silent) = scrape.source_silent {
        let age = Gauge::<f64, AtomicU64>::default();
        age.set(silent.as_secs_f64());
        let help = "Time since the API server sent anything; it sends a bookmark each minute";
        own.register_with_unit("source_event_age", help, Unit::Seconds, age);
    }
    scrape.kube_proxy.register(&mut registry);
    if let Some(requests) = scrape.requests {
        requests.register(&mut registry);
    }
    // What can't be read of the process has no series.
    if let Ok(process) = Process::read() {
        registry.register_collector(Box::new(process));
    }
    encode_registry(out, &registry)?;
    backends::write(services.with_backends(), out)?;
    encode_eof(out)
}

impl Scrape {
    /// What `/metrics` shows, at once.
    pub fn text(self) -> String {
        let mut text = String::new();
        // A string takes all.
        let _ = render(self, &mut text);
        text
    }
}

impl Families {
    fn fill_status(&self, status: &StatusView) {
        for verdict in &status.verdicts {
            let labels = VerdictLabels { verdict: verdict.name.clone() };
            self.verdicts.get_or_create(&labels).inc_by(verdict.total);
        }
        for capacity in &status.capacity {
            let labels = MapLabels { map: capacity.name.clone() };
            self.used.get_or_create(&labels).set(gauge(capacity.used));
            self.max.get_or_create(&labels).set(gauge(capacity.max));
        }
        self.problems.set(gauge(status.problems.len() as u64));
        let mut by_object: BTreeMap<ProblemLabels, i64> = BTreeMap::new();
        for Problem { object, field, .. } in &status.problems {
            let labels = ProblemLabels { object: object.clone(), field: field.clone() };
            *by_object.entry(labels).or_default() += 1;
        }
        for (labels, count) in by_object.into_iter().take(MAX_PROBLEMS) {
            self.object_problems.get_or_create(&labels).set(count);
        }
        if let Some(balancing) = &status.balancing {
            for (state, name) in [
                (BalancingState::Works, "works"),
                (BalancingState::Broken, "broken"),
                (BalancingState::Untested, "untested"),
            ] {
                let is_it = i64::from(balancing.state == state);
                self.balancing.get_or_create(&StateLabels { state: name }).set(is_it);
            }
            self.tests.inc_by(balancing.tests_total);
            self.mended.inc_by(balancing.mended_total);
        }
        self.ready.set(i64::from(status.agent.as_ref().is_some_and(|agent| agent.ready)));
    }

    fn register(self, registry: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the agent", build);
        registry.register("ready", "1 once the first complete state is in the maps", self.ready);
        registry.register(
            "balancing",
            "1 for the state that balancing was last seen in: works, broken or untested",
            self.balancing,
        );
        registry.register(
            "self_tests",
            "Connections of the agent's own by which it tried whether balancing works",
            self.tests,
        );
        registry.register(
            "mended",
            "Programs and pins put back that somebody had detached, replaced or removed",
            self.mended,
        );
        registry.register("verdicts", "Answers given to connect(), by verdict", self.verdicts);
        registry.register("map_entries", "Entries in use", self.used);
        registry.register("map_entries_max", "Entries there is room for", self.max);
        registry.register("problems", "Pieces of input that are not balanced", self.problems);
        registry.register(
            "object_problems",
            "The same by object and field; 100 of them at most",
            self.object_problems,
        );
    }
}

/// No map holds more than an i64 counts; the format has no wider gauge.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn problem(object: &str, field: &str) -> Problem {
        Problem { object: object.into(), field: field.into(), message: "wrong".into() }
    }

    fn of(status: StatusView) -> Scrape {
        Scrape { status, services: Vec::new(), ..testing::scrape() }
    }

    fn series(problems: Vec<Problem>) -> Vec<String> {
        let text = of(StatusView { problems, ..testing::status() }).text();
        let ours = text.lines().filter(|line| line.starts_with("balancer_object_problems{"));
        let mut ours: Vec<_> = ours.map(str::to_owned).collect();
        ours.sort();
        ours
    }

    #[test]
    fn lifetimes_are_a_histogram() {
        let text = testing::scrape().text();
        let own = |line: &&str| line.starts_with("balancer_connection_lifetime_seconds");
        let lines: Vec<_> = text.lines().filter(own).collect();
        let bucket = |le, count| {
            format!("balancer_connection_lifetime_seconds_bucket{{le=\"{le}\"}} {count}")
        };
        let mut want: Vec<String> = ["sum 7200.0", "count 28"]
            .map(|end| format!("balancer_connection_lifetime_seconds_{end}"))
            .into();
        let bounds = [("1.0", 1), ("10.0", 3), ("60.0", 6), ("600.0", 10), ("3600.0", 15)];
        want.extend(bounds.map(|(le, count)| bucket(le, count)));
        want.extend([bucket("36000.0", 21), bucket("+Inf", 28)]);
        assert_eq!(lines, want);
    }

    #[test]
    fn problems_are_counted_by_object_and_field() {
        let (a, b) = ("Service shop/a", "web.yaml, document 2: Service shop/b");
        let ports = "spec.ports[0].port";
        let problems = [problem(a, ""), problem(b, ports), problem(b, ports)];
        let want = [
            "balancer_object_problems{object=\"Service shop/a\",field=\"\"} 1".to_owned(),
            format!("balancer_object_problems{{object=\"{b}\",field=\"{ports}\"}} 2"),
        ];
        assert_eq!(series(problems.into()), want);
        assert_eq!(series(Vec::new()), [""; 0], "a series ends with its problem");
    }

    /// Anybody on the node may read the metrics.
    #[test]
    fn what_is_only_roots_business_is_not_told() {
        let mut status = testing::status();
        status.problems = vec![problem("Service shop/a", "spec")];
        let agent = status.agent.as_mut().expect("an agent");
        agent.source = "the API server at https://user:secret@192.0.2.1".into();
        let scrape = of(status.clone());
        scrape.mended.add("NAMES", 3);
        let text = scrape.text();
        assert!(text.contains("balancer_map_entries_mended_total{map=\"NAMES\"} 3"), "{text}");
        let (node, pid) = (agent_of(&status).node.as_str(), agent_of(&status).pid.to_string());
        for hidden in ["secret", node, &pid, "/sys/fs", "wrong", "cart-0"] {
            assert!(!text.contains(hidden), "{hidden} is in {text}");
        }
    }

    fn agent_of(status: &StatusView) -> &crate::view::AgentView {
        status.agent.as_ref().expect("an agent")
    }

    #[test]
    fn the_state_of_balancing_is_told() {
        let text = testing::scrape().text();
        for line in [
            "balancer_balancing{state=\"works\"} 1",
            "balancer_balancing{state=\"broken\"} 0",
            "balancer_self_tests_total 900",
            "balancer_mended_total 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_flood_of_problems_makes_no_flood_of_series() {
        let problems: Vec<_> =
            (0..500).map(|n| problem(&format!("Service shop/{n}"), "")).collect();
        assert_eq!(series(problems).len(), MAX_PROBLEMS);
    }
}
