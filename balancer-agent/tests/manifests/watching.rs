//! Good input that changes: each change arrives, soon and once.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use balancer_agent::source::Manifests;

use crate::harness::{Folder, next, no_state_for, run, service, services, until};

#[test]
fn files_that_come_change_and_go() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1"]);
        folder.write("b.yml", &service("b", "10.96.0.2"));
        let both = ["a=10.96.0.1", "b=10.96.0.2"];
        until(&mut manifests, |_| true, |state| services(state) == both).await;
        folder.write("a.yaml", &service("a", "10.96.0.3"));
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.3", "b=10.96.0.2"]);
        folder.remove("a.yaml");
        assert_eq!(services(&next(&mut manifests).await), ["b=10.96.0.2"]);
    });
}

#[test]
fn a_change_arrives_in_less_than_50_ms() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        let mut took = Vec::new();
        for round in 2..32 {
            let start = Instant::now();
            folder.write("a.yaml", &service("a", &format!("10.96.0.{round}")));
            let state = next(&mut manifests).await;
            took.push(start.elapsed());
            assert_eq!(services(&state), [format!("a=10.96.0.{round}")]);
        }
        took.sort();
        let median = took[took.len() / 2];
        assert!(median < Duration::from_millis(50), "median {median:?} of {took:?}");
    });
}

#[test]
fn an_equal_state_is_not_given_twice() {
    run(async {
        let text = service("a", "10.96.0.1");
        let folder = Folder::new(&[("a.yaml", &text)]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        folder.write("a.yaml", &text);
        folder.write("a.yaml", &format!("# a comment\n{text}"));
        folder.write("empty.yaml", "");
        folder.write(".a.yaml.swp", "x: [");
        no_state_for(&mut manifests, 400).await;
        folder.write("a.yaml", &service("a", "10.96.0.2"));
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.2"]);
    });
}

#[test]
fn a_call_that_is_dropped_loses_nothing() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        let mut last = None;
        for round in 2..40 {
            folder.write("a.yaml", &service("a", &format!("10.96.0.{round}")));
            let short = Duration::from_millis(round % 7);
            if let Ok(state) = tokio::time::timeout(short, manifests.next()).await {
                last = Some(state.unwrap());
            }
        }
        let end = ["a=10.96.0.39"];
        if last.is_none_or(|state| services(&state) != end) {
            until(&mut manifests, |_| true, |state| services(state) == end).await;
        }
        no_state_for(&mut manifests, 200).await;
    });
}

#[test]
fn a_file_written_in_place_is_read_when_its_writer_is_done() {
    run(async {
        let text = format!("{}---\n{}", service("a", "10.96.0.1"), service("b", "10.96.0.2"));
        let folder = Folder::new(&[("a.yaml", &text)]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        let new = text.replace("10.96.0.2", "10.96.0.3");
        let mut file = File::create(folder.path("a.yaml")).unwrap();
        // Empty now; then a prefix that is valid YAML and has lost a Service.
        no_state_for(&mut manifests, 100).await;
        let half = text.len() / 2;
        file.write_all(&new.as_bytes()[..half]).unwrap();
        no_state_for(&mut manifests, 400).await;
        file.write_all(&new.as_bytes()[half..]).unwrap();
        drop(file);
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1", "b=10.96.0.3"]);
    });
}

#[test]
fn a_writer_that_never_closes_is_not_waited_for_forever() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        let mut file = OpenOptions::new().append(true).open(folder.path("a.yaml")).unwrap();
        write!(file, "---\n{}", service("b", "10.96.0.2")).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1", "b=10.96.0.2"]);
        drop(file);
    });
}

#[test]
fn an_empty_file_is_empty_only_if_it_stays_so() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        folder.write("a.yaml", "");
        no_state_for(&mut manifests, 100).await;
        folder.write("a.yaml", &service("a", "10.96.0.2"));
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.2"]);
        folder.write("a.yaml", "\n");
        assert!(next(&mut manifests).await.services.is_empty());
    });
}

#[test]
fn editors_that_rename_lose_nothing() {
    run(async {
        let folder = Folder::new(&[("a.yaml", &service("a", "10.96.0.1"))]);
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        next(&mut manifests).await;
        for round in 2..12 {
            // As vim does: the old file becomes the backup, a new one takes its name.
            let text = service("a", &format!("10.96.0.{round}"));
            fs::rename(folder.path("a.yaml"), folder.path("a.yaml~")).unwrap();
            let mut file = File::create(folder.path("a.yaml")).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.sync_all().unwrap();
            drop(file);
            folder.remove("a.yaml~");
            let end = [format!("a=10.96.0.{round}")];
            let kept = |state: &_| services(state).len() == 1;
            until(&mut manifests, kept, |state| services(state) == end).await;
        }
        // As sed -i does: a new file is moved over the old one.
        folder.write("sedXYZ", &service("a", "10.96.1.1"));
        fs::rename(folder.path("sedXYZ"), folder.path("a.yaml")).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.1.1"]);
    });
}

#[test]
fn a_config_map_is_swapped_whole() {
    run(async {
        let folder = Folder::new(&[]);
        let version = |number: u32| {
            let name = format!("..v{number}");
            fs::create_dir(folder.path(&name)).unwrap();
            for (file, service_name) in [("a.yaml", "a"), ("b.yaml", "b")] {
                let text = service(service_name, &format!("10.96.0.{number}"));
                fs::write(folder.path(&name).join(file), text).unwrap();
            }
            symlink(&name, folder.path("..data_tmp")).unwrap();
            fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
        };
        version(1);
        symlink("..data/a.yaml", folder.path("a.yaml")).unwrap();
        symlink("..data/b.yaml", folder.path("b.yaml")).unwrap();
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1", "b=10.96.0.1"]);
        for number in 2..6 {
            version(number);
            fs::remove_dir_all(folder.path(&format!("..v{}", number - 1))).unwrap();
            let end = [format!("a=10.96.0.{number}"), format!("b=10.96.0.{number}")];
            assert_eq!(services(&next(&mut manifests).await), end, "in one step");
        }
    });
}

#[test]
fn links_are_followed_and_their_targets_watched() {
    run(async {
        let folder = Folder::new(&[]);
        let target = folder.outer().join("target");
        fs::write(&target, service("a", "10.96.0.1")).unwrap();
        symlink(&target, folder.path("a.yaml")).unwrap();
        let mut manifests = Manifests::open(&folder.dir()).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1"]);
        fs::write(&target, service("a", "10.96.0.2")).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.2"]);
        for round in 3..6 {
            let other = folder.outer().join("other");
            fs::write(&other, service("a", &format!("10.96.0.{round}"))).unwrap();
            fs::rename(&other, &target).unwrap();
            assert_eq!(services(&next(&mut manifests).await), [format!("a=10.96.0.{round}")]);
        }
        fs::remove_file(&target).unwrap();
        let state = next(&mut manifests).await;
        assert!(state.services.is_empty(), "{state:?}");
        assert_eq!(state.problems[0].object, "a.yaml", "{state:?}");
        fs::write(&target, service("a", "10.96.0.9")).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.9"]);
    });
}

#[test]
fn a_folder_that_is_a_link_may_be_swapped() {
    run(async {
        let folder = Folder::new(&[]);
        for number in 1..3 {
            let version = folder.outer().join(format!("v{number}"));
            fs::create_dir(&version).unwrap();
            let text = service("a", &format!("10.96.0.{number}"));
            fs::write(version.join("a.yaml"), text).unwrap();
        }
        let link = folder.outer().join("current");
        symlink("v1", &link).unwrap();
        let mut manifests = Manifests::open(&link).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.1"]);
        symlink("v2", folder.outer().join("next")).unwrap();
        fs::rename(folder.outer().join("next"), &link).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.2"]);
        fs::write(link.join("a.yaml"), service("a", "10.96.0.3")).unwrap();
        assert_eq!(services(&next(&mut manifests).await), ["a=10.96.0.3"]);
    });
}
