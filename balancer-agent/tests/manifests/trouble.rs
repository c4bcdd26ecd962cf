//! Bad input over time: it is told, and nothing else is touched.

use std::{
    fs::{self, File},
    io::Write,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use balancer_agent::source::{Manifests, SourceError};

use crate::harness::{Folder, next, no_state_for, problems, run, service, services, until};

const BROKEN: &str = "apiVersion: v1\nkind: Service\n metadata: {name: a}\n";

#[test]
fn a_file_that_breaks_keeps_what_it_gave_until_it_is_mended() {
    run(async {
        let text = format!("{}---\n{}", service("a", "10.96.0.1"), service("b", "10.96.0.2"));
        let folder = Folder::new(&[("ab.yaml", &text), ("c.yaml", &service("c", "10.96.0.3"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        let all = ["a=10.96.0.1", "b=10.96.0.2", "c=10.96.0.3"];
        assert_eq!(services(&next(&mut manifests).await), all);

        folder.write("ab.yaml", BROKEN);
        let state = next(&mut manifests).await;
        assert_eq!(services(&state), all);
        let told = problems(&state);
        assert!(told.starts_with("ab.yaml, document 1: not YAML"), "{told}");
        assert!(told.contains("line 3 column"), "{told}");

        // A good document beside the broken one is used at once.
        folder.write("ab.yaml", &format!("{}---\n{BROKEN}", service("a", "10.96.0.9")));
        let state = next(&mut manifests).await;
        assert_eq!(services(&state), ["a=10.96.0.9", "b=10.96.0.2", "c=10.96.0.3"]);

        // Mended, and without b: now b is really gone.
        folder.write("ab.yaml", &service("a", "10.96.0.9"));
        let state = next(&mut manifests).await;
        assert_eq!(services(&state), ["a=10.96.0.9", "c=10.96.0.3"]);
        assert_eq!(problems(&state), "");

        // Broken, then deleted: deleted.
        folder.write("c.yaml", "\u{0}");
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.9", "c=10.96.0.3"]);
        folder.remove("c.yaml");
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.9"]);
    });
}

#[test]
fn what_could_never_be_read_is_missing() {
    run(async {
        let good = service("a", "10.96.0.1");
        let undecodable = good.replace("port: 80}", "port: eighty}");
        for broken in [BROKEN, &undecodable] {
            let folder = Folder::new(&[("a.yaml", broken), ("b.yaml", &service("b", "10.96.0.2"))]);
            let mut manifests = Manifests::open(&folder.dir()).unwrap();
            let state = next(&mut manifests).await;
            assert!(state.missing, "{state:?}");
            folder.write("a.yaml", &good);
            let state = next(&mut manifests).await;
            assert!(!state.missing, "{state:?}");
            folder.write("a.yaml", broken);
            let state = next(&mut manifests).await;
            assert!(!state.missing, "what it gave before stays: {state:?}");
        }
    });
}

#[test]
fn an_object_that_can_not_be_decoded_stays_as_it_was() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        let text = service("a", "10.96.0.2").replace("port: 80}", "port: eighty}");
        folder.write("a.yaml", &text);
        let state = next(&mut manifests).await;
        assert_eq!(services(&state), ["a=10.96.0.1"]);
        assert_eq!(state.problems[0].object, "a.yaml, document 1: Service default/a");
        assert_eq!(state.problems[0].field, "spec.ports[0].port");
        folder.write("a.yaml", &service("a", "10.96.0.2"));
        let state = next(&mut manifests).await;
        assert_eq!((services(&state), problems(&state)), (vec!["a=10.96.0.2".into()], "".into()));
    });
}

#[test]
fn the_definition_that_was_there_first_is_in_force() {
    run(async {
        let folder = Folder::new(&[("b.yaml", &service("a", "10.96.0.2"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        folder.write("a.yaml", &service("a", "10.96.0.1"));
        let told = |state: &_| problems(state).contains("a.yaml, document 1: Service default/a");
        let state = until(&mut manifests, |_| true, told).await;
        assert_eq!(services(&state), ["a=10.96.0.2"]);
        assert!(problems(&state).contains("b.yaml, document 1 defines"), "{}", problems(&state));
        folder.write("b.yaml", &service("a", "10.96.0.3"));
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.3"]);
        folder.remove("b.yaml");
        let state = next(&mut manifests).await;
        assert_eq!((services(&state), problems(&state)), (vec!["a=10.96.0.1".into()], "".into()));
    });
}

#[test]
fn a_folder_that_vanishes_keeps_all_and_is_picked_up_again() {
    run(async {
        let a = service("a", "10.96.0.1");
        let folder = Folder::new(&[("a.yaml", &a), ("b.yaml", &service("b", "10.96.0.2"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        let both = services(&next(&mut manifests).await);
        let away = |state: &_| problems(state).contains("the manifests folder can't be read");
        let kept = |state: &_| services(state) == both;

        let elsewhere = folder.outer().join("elsewhere");
        fs::rename(folder.dir(), &elsewhere).unwrap();
        until(&mut manifests, kept, away).await;
        fs::rename(&elsewhere, folder.dir()).unwrap();
        until(&mut manifests, kept, |state| !away(state)).await;
        no_state_for(&mut manifests, 1500).await;

        fs::remove_dir_all(folder.dir()).unwrap();
        until(&mut manifests, kept, away).await;
        // It comes back with one of its files: the other is gone, once that is certain.
        fs::create_dir(folder.dir()).unwrap();
        until(&mut manifests, kept, |state| !away(state)).await;
        folder.write("a.yaml", &a);
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1"]);
        folder.write("a.yaml", &service("a", "10.96.0.9"));
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.9"]);
    });
}

#[test]
fn a_folder_that_can_not_be_opened_is_an_error_with_its_remedy() {
    let folder = Folder::new(&[("a.yaml", "")]);
    let missing = folder.outer().join("nowhere");
    let cases = [(missing, "create it"), (folder.path("a.yaml"), "name the folder")];
    for (dir, remedy) in cases {
        let errors =
            [Manifests::open(&dir).unwrap_err(), Manifests::read_once(&dir, None).unwrap_err()];
        for error in errors {
            let told = error.to_string();
            assert!(told.contains(remedy), "{told}");
            assert!(told.contains(&dir.display().to_string()), "{told}");
            assert!(matches!(error, SourceError::Missing { .. } | SourceError::NotAFolder { .. }));
        }
    }
}

#[test]
fn what_is_no_file_or_too_large_is_told_and_not_read() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        fs::create_dir(folder.path("folder.yaml")).unwrap();
        let fifo = Command::new("mkfifo").arg(folder.path("fifo.yaml")).status().unwrap();
        assert!(fifo.success(), "mkfifo: {fifo}");
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        let state = next(&mut manifests).await;
        assert_eq!(services(&state), ["a=10.96.0.1"]);
        let told = problems(&state);
        assert!(told.contains("fifo.yaml: is no file"), "{told}");
        assert!(told.contains("folder.yaml: is no file"), "{told}");

        File::options().write(true).open(folder.path("a.yaml")).unwrap().set_len(65 << 20).unwrap();
        let large = |state: &_| problems(state).contains("a.yaml: has 68157440 bytes");
        let state = until(&mut manifests, |_| true, large).await;
        assert_eq!(services(&state), ["a=10.96.0.1"]);
        folder.write("a.yaml", &service("a", "10.96.0.2"));
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.2"]);
    });
}

#[test]
fn a_large_folder_that_is_deleted_file_by_file_keeps_all() {
    run(async {
        let folder = Folder::new(&[]);
        for number in 0..300 {
            let text = service(&format!("s{number}"), "10.96.0.1");
            folder.write(&format!("{number}.yaml"), &text);
        }
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        assert_eq!(next(&mut manifests).await.services.len(), 300);
        fs::remove_dir_all(folder.dir()).unwrap();
        let away = |state: &_| problems(state).contains("the manifests folder can't be read");
        let kept = |state: &balancer_agent::model::State| state.services.len() == 300;
        until(&mut manifests, kept, away).await;
    });
}

#[test]
fn a_file_that_is_written_without_end_does_not_hold_up_the_others() {
    run(async {
        let folder = Folder::new(&[("good.yaml", &service("a", "10.96.0.1"))]);
        let path = folder.path("endless.yaml");
        let (stop, stopped) = mpsc::channel::<()>();
        let writer = thread::spawn(move || {
            let mut file = File::create(path).unwrap();
            let pause = Duration::from_millis(5);
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                writeln!(file, "# more").unwrap();
            }
        });
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        let state = next(&mut manifests).await;
        assert_eq!(services(&state), ["a=10.96.0.1"]);
        drop(stop);
        writer.join().unwrap();
    });
}
