//! Logs problems: each when it comes, and when it is gone.

use std::collections::BTreeSet;

use crate::model::Problem;

/// Remembers what was told, so that nothing is told twice.
#[derive(Debug, Default)]
pub struct Teller {
    told: BTreeSet<Problem>,
}

impl Teller {
    /// Logs what is new among the problems, and what is mended.
    pub fn tell(&mut self, problems: &[Problem]) {
        let now: BTreeSet<_> = problems.iter().cloned().collect();
        for problem in now.difference(&self.told) {
            tracing::warn!("{problem}");
        }
        for problem in self.told.difference(&now) {
            tracing::info!(object = problem.object, field = problem.field, "mended");
        }
        self.told = now;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(teller: &mut Teller, problems: &[Problem]) -> String {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || sink.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || teller.tell(problems));
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_problem_is_told_once_and_so_is_its_end() {
        let problem = |name: &str| Problem {
            object: format!("Service shop/{name}"),
            field: "spec.ports".into(),
            message: "missing".into(),
        };
        let (a, b) = (problem("a"), problem("b"));
        let mut teller = Teller::default();
        let both = logged(&mut teller, &[a.clone(), b.clone(), a.clone()]);
        let want = " WARN Service shop/a: spec.ports: missing\n\
                     \u{20}WARN Service shop/b: spec.ports: missing\n";
        assert_eq!(both, want);
        assert_eq!(logged(&mut teller, &[b.clone(), a.clone()]), "");
        let mended = logged(&mut teller, &[a]);
        assert_eq!(mended, " INFO mended object=\"Service shop/b\" field=\"spec.ports\"\n");
        assert!(logged(&mut teller, &[b]).contains("WARN Service shop/b"), "it is back");
    }
}
