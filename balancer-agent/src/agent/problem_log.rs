//! Logs problems: each when it comes, and when it is gone.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::model::Problem;

/// Remembers what was told, so that nothing is told twice.
#[derive(Debug, Default)]
pub struct ProblemLog {
    told: BTreeMap<Identity, Problem>,
}

/// What makes a problem the same: object, field, and message.
type Identity = (String, String, String);

/// While the API server is away, each attempt to reach it fails in its own words, which stand after
/// the first colon of the message. It is one problem.
fn identity(problem: &Problem) -> Identity {
    let Problem { object, field, message } = problem;
    let same = match message.split_once(": ") {
        Some((same, _)) if object.starts_with("API server ") => same,
        _ => message,
    };
    (object.clone(), field.clone(), same.to_owned())
}

impl ProblemLog {
    /// Logs what is new among the problems, and what is mended, and gives it: true for what has
    /// come.
    pub fn tell(&mut self, problems: &[Problem]) -> Vec<(Problem, bool)> {
        let mut changes = Vec::new();
        let mut now = BTreeMap::new();
        for problem in problems {
            let Entry::Vacant(entry) = now.entry(identity(problem)) else { continue };
            match self.told.remove(entry.key()) {
                None => {
                    tracing::warn!("{problem}");
                    changes.push((problem.clone(), true));
                }
                Some(told) if told != *problem => tracing::debug!("{problem}"),
                Some(_) => {}
            }
            entry.insert(problem.clone());
        }
        for problem in std::mem::replace(&mut self.told, now).into_values() {
            tracing::info!(object = problem.object, field = problem.field, "mended");
            changes.push((problem, false));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn logged(problem_log: &mut ProblemLog, problems: &[Problem]) -> String {
        testing::logged(|| drop(problem_log.tell(problems)))
    }

    #[test]
    fn an_api_server_that_is_away_is_told_once() {
        let problem = |message: &str| Problem {
            object: "API server https://api".into(),
            field: String::new(),
            message: message.into(),
        };
        let mut problem_log = ProblemLog::default();
        let first = problem("does not serve: end of file");
        let told = logged(&mut problem_log, std::slice::from_ref(&first));
        assert_eq!(told, " WARN API server https://api: does not serve: end of file\n");
        assert_eq!(logged(&mut problem_log, &[first, problem("does not serve: refused")]), "");
        assert_eq!(logged(&mut problem_log, &[problem("does not serve: refused")]), "");
        let other = problem("it answers 401 (Unauthorized)");
        let both = logged(&mut problem_log, &[problem("does not serve: it answers 503"), other]);
        assert_eq!(both, " WARN API server https://api: it answers 401 (Unauthorized)\n");
        let mended = logged(&mut problem_log, &[]);
        assert_eq!(mended.matches("mended").count(), 2, "{mended}");
    }

    #[test]
    fn each_problem_is_told_once_and_so_is_its_end() {
        let problem = |name: &str| Problem {
            object: format!("Service shop/{name}"),
            field: "spec.ports".into(),
            message: "missing".into(),
        };
        let (a, b) = (problem("a"), problem("b"));
        let mut problem_log = ProblemLog::default();
        let both = logged(&mut problem_log, &[a.clone(), b.clone(), a.clone()]);
        let want = " WARN Service shop/a: spec.ports: missing\n\
                     \u{20}WARN Service shop/b: spec.ports: missing\n";
        assert_eq!(both, want);
        assert_eq!(logged(&mut problem_log, &[b.clone(), a.clone()]), "");
        let mended = logged(&mut problem_log, &[a]);
        assert_eq!(mended, " INFO mended object=\"Service shop/b\" field=\"spec.ports\"\n");
        assert!(logged(&mut problem_log, &[b]).contains("WARN Service shop/b"), "it is back");
    }
}
