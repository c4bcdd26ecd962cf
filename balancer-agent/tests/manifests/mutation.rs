//! Random damage to one file never panics and never touches what another file defines.

use std::fs;

use balancer_agent::{model::State, source::Manifests};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::harness::{Folder, service, services};

const ROUNDS: u64 = 600;

#[test]
fn damage_stays_in_the_file_it_is_in() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests/cases");
    let originals = ["kubectl/list.yaml", "kubectl/windows.yml", "rules/slices.yaml"]
        .map(|name| fs::read(format!("{cases}/{name}")).unwrap());
    let folder = Folder::new(&[("0.yaml", &service("good", "10.96.0.1"))]);
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = originals[random.random_range(0..originals.len())].clone();
        for _ in 0..random.random_range(1..6) {
            damage(&mut bytes, &mut random);
        }
        fs::write(folder.path("1.yaml"), &bytes).unwrap();
        let state: State = Manifests::read_once(&folder.dir(), None).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            services(&state).contains(&"good=10.96.0.1".to_owned()),
            "seed {seed} lost the other file's Service: {:?}\n{text}",
            services(&state)
        );
        for problem in &state.problems {
            assert!(problem.object.starts_with("1.yaml"), "seed {seed}: {problem}\n{text}");
        }
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) {
    const TOKENS: [&str; 14] = [
        "\n", "---\n", "...\n", ": ", "- ", "{", "]", "\"", "&a ", "*a", "!!int ", "|\n", "\t",
        "\0",
    ];
    let at = random.random_range(0..=bytes.len());
    let end = (at + random.random_range(0..40)).min(bytes.len());
    match random.random_range(0..6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
        3 => bytes.insert(at, random.random()),
        4 if at < bytes.len() => bytes[at] = random.random(),
        _ => {
            let token = TOKENS[random.random_range(0..TOKENS.len())];
            drop(bytes.splice(at..at, token.bytes()));
        }
    }
}
