//! Changes of the folder: how fast they reach the maps, and what they leave alone.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use crate::common::{VIP, Web, address, await_shown};
use balancer_agent::{
    config::Capacities,
    maps::{ReadMaps, convert, pinned::PinnedMaps, pins::Pins},
};
use balancer_common::layout::{Row, Slot};
use balancer_lab::{
    http::{Client, LoadOptions, Pools, Until},
    manifests::{Endpoint, Service},
};
use serde_json::Value;

/// The maps, read beside the agent.
fn maps(web: &Web) -> PinnedMaps {
    PinnedMaps::open(&Pins::new(&web.lab.bpffs().join("balancer")), Capacities::MAX).expect("maps")
}

/// The row of a Service and its slots. Salts are drawn whenever a row is written, so equal slots
/// mean that nobody wrote them.
fn row(maps: &PinnedMaps, service: &str) -> (u32, Row, Vec<Slot>) {
    let names = maps.names().expect("names");
    let found = names.iter().find(|(_, name)| {
        convert::row_id(name).is_some_and(|row| row.port.service.name == service)
    });
    let id = found.unwrap_or_else(|| panic!("no Service {service}")).0;
    let row = maps.row(id);
    (id, row, (row.base..row.base + row.len).map(|index| maps.slot(index)).collect())
}

/// Every request of 6 fresh pools is answered.
fn assert_balanced(web: &Web, when: &str) {
    let uri = format!("http://{VIP}/").parse().expect("uri");
    let options = LoadOptions::new(uri, 6, Pools::PerThread, Until::Requests(2));
    let report = Client::run(web.client.place(), &options).expect("client");
    assert_eq!((report.errors, report.connections()), (0, 6), "{when}: {report:?}");
}

fn problems(web: &Web) -> Vec<String> {
    let status = web.agent.json(&["status"]).expect("status");
    let problems = status["problems"].as_array().expect("problems");
    problems
        .iter()
        .map(|p| {
            let text = |field: &str| p[field].as_str().unwrap_or_default().to_owned();
            format!("{}: {}: {}", text("object"), text("field"), text("message"))
        })
        .collect()
}

/// Waits until the agent tells exactly the problems that hold these words, one each.
fn await_problems(web: &Web, words: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let told = problems(web);
        let all = words.iter().all(|word| told.iter().any(|problem| problem.contains(word)));
        if all && told.len() == words.len() {
            return;
        }
        assert!(Instant::now() < deadline, "wanted {words:?}, told {told:#?}");
    }
}

/// Waits until the agent tells a problem that holds this word, whatever else it tells.
fn await_problem(web: &Web, word: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let told = problems(web);
        if told.iter().any(|problem| problem.contains(word)) {
            return;
        }
        assert!(Instant::now() < deadline, "wanted {word}, told {told:#?}");
    }
}

#[test]
fn a_change_is_in_the_maps_within_50_ms_and_touches_nothing_else() {
    let mut web = Web::start("change", 3);
    for number in 0..50_u8 {
        let ip = [10, 96, 1, number];
        let other =
            Service::new(&format!("other-{number}"), ip, 80, 8080, [address(1), address(2)]);
        web.manifests.write(&other).expect("written");
    }
    await_shown(&web.agent, |services| services.len() == 51);
    let maps = maps(&web);
    let others = |maps: &PinnedMaps| -> Vec<_> {
        (0..50).map(|number| row(maps, &format!("other-{number}"))).collect()
    };
    let before = others(&maps);
    let frontends = |maps: &PinnedMaps| {
        let mut all: Vec<_> = maps
            .frontends()
            .expect("frontends")
            .into_iter()
            .map(|(key, value)| (key, value.service))
            .collect();
        all.sort_unstable();
        all
    };
    let captured = frontends(&maps);

    let id = row(&maps, "web").0;
    let mut took = Vec::new();
    for number in 0..20_u8 {
        let old = maps.row(id);
        match number % 2 {
            0 => web.service.endpoints.push(Endpoint::ready(address(100 + number))),
            _ => drop(web.service.endpoints.pop()),
        }
        let started = Instant::now();
        web.manifests.write(&web.service).expect("written");
        while maps.row(id) == old {
            assert!(started.elapsed() < Duration::from_secs(5), "change {number} never arrived");
        }
        took.push(started.elapsed());
    }
    assert_eq!(others(&maps), before, "rows of other Services were written");
    assert_eq!(frontends(&maps), captured, "frontends were written");
    took.sort_unstable();
    println!("20 changes: median {:?}, slowest {:?}", took[10], took[19]);
    assert!(took[10] < Duration::from_millis(50), "{took:?}");
}

/// What `services` and the metrics show is of one moment: all backends of a row, before or after.
#[test]
fn a_listing_shows_no_half_row_while_rows_are_replaced() {
    let mut web = Web::start("listing", 1);
    let sets: [Vec<Endpoint>; 2] =
        [11..18, 21..28].map(|numbers| numbers.map(|n| Endpoint::ready(address(n))).collect());
    web.service.endpoints.clone_from(&sets[0]);
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |all| all[0]["backends"].as_array().is_some_and(|b| b.len() == 7));
    let (maps, agent) = (maps(&web), &web.agent);
    let id = row(&maps, "web").0;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (service, manifests, done) = (&mut web.service, &web.manifests, &done);
        let replaced = scope.spawn(move || {
            let mut replaced = 0;
            // Bounded: a listing that is wrong ends the test before it says so.
            while !done.load(SeqCst) && replaced < 2000 {
                let old = maps.row_word(id);
                service.endpoints.clone_from(&sets[(replaced + 1) % 2]);
                manifests.write(service).expect("written");
                let deadline = Instant::now() + Duration::from_secs(5);
                while maps.row_word(id) == old {
                    assert!(Instant::now() < deadline, "change {replaced} never arrived");
                }
                replaced += 1;
            }
            replaced
        });
        let whole = |backends: &[String]| {
            let of = |first: u8| {
                let all = (first..first + 7).map(|n| format!("{}:8080", address(n)));
                all.collect::<Vec<_>>() == backends
            };
            of(11) || of(21)
        };
        for number in 0..100 {
            let all = agent.json(&["services"]).expect("services");
            let backends = all[0]["backends"].as_array().expect("backends").iter();
            let mut shown: Vec<_> = backends
                .map(|b| format!("{}:{}", b["address"].as_str().expect("text"), b["port"]))
                .collect();
            shown.sort();
            assert!(whole(&shown), "listing {number}: {shown:?}");
            let metrics = agent.metrics().expect("metrics");
            let active = metrics.lines().filter(|line| line.starts_with(ACTIVE));
            let mut shown: Vec<_> = active
                .filter_map(|line| line.split_once("backend=\"")?.1.split_once('"'))
                .map(|(backend, _)| backend.to_owned())
                .collect();
            shown.sort();
            assert!(whole(&shown), "scrape {number}: {shown:?}");
        }
        done.store(true, SeqCst);
        let replaced = replaced.join().expect("the changes");
        assert!(replaced > 20, "{replaced} changes");
    });
}

/// The series of open connections of a backend.
const ACTIVE: &str = "balancer_backend_connections{";

#[test]
fn broken_files_are_named_and_everything_else_stays_balanced() {
    let web = Web::start("broken", 3);
    let good = fs::read_to_string(web.manifests.dir().join("default-web.yaml")).expect("read");
    await_problems(&web, &[]);

    // A second file with all that can be wrong, one document each.
    let service = |name: &str, ip: &str, port: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{clusterIP: {ip}, ports: [{{port: {port}}}]}}\n"
        )
    };
    let documents = [
        service("zero", "10.96.2.1", "0"),
        service("large", "10.96.2.2", "70000"),
        service("no-address", "nonsense", "80"),
        service("web", "10.96.2.3", "80"),
        service("lonely", "10.96.2.4", "80"),
        "apiVersion: v1\nkind: Gadget\nmetadata: {name: x}\n".to_owned(),
        "apiVersion: v1\nkind: [unclosed\n".to_owned(),
    ];
    web.manifests.write_text("wrong.yaml", &documents.join("---\n")).expect("written");
    let words = [
        "default/zero: spec.ports[0].port",
        "default/large: spec.ports[0].port",
        "default/no-address: spec.clusterIP",
        "default/web",
        "default/lonely",
        "Gadget",
        "wrong.yaml, document 7",
    ];
    await_problems(&web, &words);
    assert_balanced(&web, "beside a broken file");

    // The good file breaks in the middle of a write: its Service stays.
    web.manifests.write_text("default-web.yaml", &good[..good.len() / 2]).expect("written");
    await_problem(&web, "default-web.yaml");
    let backends = |service: &Value| service["backends"].as_array().map(Vec::len);
    assert_eq!(backends(&web.shown("default/web")), Some(3));
    assert_balanced(&web, "with its own file broken");

    // An endpoint that is no IP is left out; the others stay.
    let mut mixed = web.service.clone();
    mixed.endpoints[1].address = "not-an-ip".into();
    fs::remove_file(web.manifests.dir().join("wrong.yaml")).expect("removed");
    web.manifests.write(&mixed).expect("written");
    await_problems(&web, &["endpoints[1].addresses[0]"]);
    assert_eq!(backends(&web.shown("default/web")), Some(2));

    // Mended: picked up again, and nothing is left to tell.
    web.manifests.write(&web.service).expect("written");
    await_problems(&web, &[]);
    assert_eq!(backends(&web.shown("default/web")), Some(3));
    assert_balanced(&web, "mended");
}

#[test]
fn a_folder_that_vanishes_changes_nothing_until_it_is_back() {
    let mut web = Web::start("vanish", 3);
    let (dir, aside) = (web.manifests.dir().to_owned(), web.lab.state_dir().join("aside"));
    fs::rename(&dir, &aside).expect("renamed");
    await_problems(&web, &["manifests"]);
    assert_balanced(&web, "without its folder");
    fs::rename(&aside, &dir).expect("renamed back");
    await_problems(&web, &[]);
    web.service.endpoints.pop();
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| services[0]["backends"].as_array().map(Vec::len) == Some(2));
}

#[test]
fn a_file_that_is_broken_at_the_start_ends_nothing_that_works() {
    let mut web = Web::start("broken-start", 3);
    let good = fs::read_to_string(web.manifests.dir().join("default-web.yaml")).expect("read");
    assert!(web.agent.terminate().expect("terminated").success());
    web.manifests.write_text("default-web.yaml", &good[..good.len() / 2]).expect("written");
    web.agent.resume().expect("resumed");
    await_problem(&web, "default-web.yaml");
    assert_eq!(web.shown("default/web")["backends"].as_array().map(Vec::len), Some(3));
    assert_balanced(&web, "after a start with its file broken");
    web.manifests.write_text("default-web.yaml", &good).expect("written");
    await_problems(&web, &[]);
    fs::remove_file(web.manifests.dir().join("default-web.yaml")).expect("removed");
    await_shown(&web.agent, <[Value]>::is_empty);
}
