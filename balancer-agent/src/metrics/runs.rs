//! How long programs run, where the kernel measures it.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use crate::kernel::inventory::ProgramFacts;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProgramLabels {
    program: String,
}

/// Adds them to what a scrape shows; a program that was not measured has no series.
pub(super) fn register(programs: &[ProgramFacts], registry: &mut Registry) {
    let runs = Family::<ProgramLabels, Counter>::default();
    let time = Family::<ProgramLabels, Counter<f64, AtomicU64>>::default();
    for program in programs.iter().filter(|program| program.runs > 0) {
        let labels = ProgramLabels { program: program.name.clone() };
        runs.get_or_create(&labels).inc_by(program.runs);
        time.get_or_create(&labels).inc_by(program.run_time_ns as f64 / 1e9);
    }
    let help = "Runs of programs while the kernel measured them (kernel.bpf_stats_enabled)";
    registry.register("program_runs", help, runs);
    registry.register_with_unit("program_run", "Time of these runs", Unit::Seconds, time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode_registry;

    #[test]
    fn only_what_was_measured_has_series() {
        let program = |name: &str, runs, run_time_ns| ProgramFacts {
            name: name.into(),
            id: 1,
            tag: String::new(),
            verified_instructions: 1,
            translated_bytes: 8,
            jited_bytes: 8,
            runs,
            run_time_ns,
        };
        let mut registry = Registry::with_prefix("balancer");
        register(&[program("connect4", 4, 2_000_000_000), program("tcp", 0, 0)], &mut registry);
        let mut text = String::new();
        encode_registry(&mut text, &registry).expect("text");
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let want = [
            "balancer_program_runs_total{program=\"connect4\"} 4",
            "balancer_program_run_seconds_total{program=\"connect4\"} 2.0",
        ];
        assert_eq!(series, want);
    }
}
