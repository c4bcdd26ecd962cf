//! What can be asked for: scenarios, which compare how connections start, and stories, which compare
//! what becomes of them.

use std::sync::LazyLock;

use clap::{ValueEnum, builder::PossibleValue};

use super::{scenario::Scenario, story::Story};

/// A scenario or a story, by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chosen {
    Scenario(Scenario),
    Story(Story),
}

impl ValueEnum for Chosen {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Chosen>> = LazyLock::new(|| {
            let scenarios = Scenario::value_variants().iter().copied().map(Chosen::Scenario);
            scenarios.chain(Story::value_variants().iter().copied().map(Chosen::Story)).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Scenario(scenario) => scenario.to_possible_value(),
            Self::Story(story) => story.to_possible_value(),
        }
    }
}

/// Scenarios and stories apart; all scenarios where nothing is chosen.
pub(super) fn apart(chosen: &[Chosen]) -> (Vec<Scenario>, Vec<Story>) {
    if chosen.is_empty() {
        return (Scenario::value_variants().to_vec(), Vec::new());
    }
    let (mut scenarios, mut stories) = (Vec::new(), Vec::new());
    for one in chosen {
        match one {
            Chosen::Scenario(scenario) => scenarios.push(*scenario),
            Chosen::Story(story) => stories.push(*story),
        }
    }
    (scenarios, stories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_are_played_when_they_are_named() {
        assert_eq!(apart(&[]).1, []);
        let names = ["rollout", "pools-5"].map(|name| Chosen::from_str(name, false).expect(name));
        assert_eq!(apart(&names), (vec![Scenario::Pools5], vec![Story::Rollout]));
    }
}
