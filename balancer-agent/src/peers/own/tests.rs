use super::*;
use crate::model::Protocol;

const WEB: ServiceId = ServiceId(1);
const API: ServiceId = ServiceId(2);

fn addr(id: u32) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, id as u8], 80).into(), Protocol::Tcp)
}

fn row(service: ServiceId, ids: &[u32]) -> Row {
    let backend = |id: &u32| RowBackend { id: *id, addr: addr(*id), weight: 1 };
    let backends = ids.iter().map(backend).collect();
    Row { id: service.0 as u32, service, weighted: false, backends }
}

/// How long ends are named.
const NAMED: Duration = Duration::from_secs(3);

fn rows<const N: usize>(rows: [Row; N]) -> ServiceRows {
    rows.into_iter().map(|row| (row.service, vec![row])).collect()
}

fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

#[test]
fn what_changed_is_reported_once_and_everything_when_asked() {
    let mut own = Own::default();
    own.change_rows(at(0), &rows([row(WEB, &[1, 2, 3])]));
    // What was opened before the first look is no news, what is open is.
    own.observe(at(0), 1, 4, 100);
    own.observe(at(0), 2, 0, 0);
    assert_eq!(own.report(at(1), WEB, false, NAMED), Some((0, vec![(addr(1), 4)])));
    assert_eq!(own.dirty().count(), 0);
    own.observe(at(10), 2, 1, 1);
    own.observe(at(10), 1, 4, 100);
    assert_eq!(own.dirty().collect::<Vec<_>>(), [WEB]);
    assert_eq!(own.report(at(10), WEB, false, NAMED), Some((1, vec![(addr(2), 1)])));
    assert_eq!(own.report(at(10), WEB, true, NAMED), Some((1, vec![(addr(1), 4), (addr(2), 1)])));
    // A connection that came and went between two looks was opened.
    own.observe(at(20), 2, 1, 3);
    assert_eq!(own.report(at(20), WEB, false, NAMED), Some((3, vec![(addr(2), 1)])));
    // One that ended is named as long as the news may have been lost.
    own.observe(at(30), 1, 0, 100);
    let counts = |own: &mut Own, ms| own.report(at(ms), WEB, true, NAMED).unwrap().1;
    assert_eq!(counts(&mut own, 1_000), [(addr(1), 0), (addr(2), 1)]);
    assert_eq!(counts(&mut own, 4_000), [(addr(2), 1)]);
}

#[test]
fn services_that_share_a_backend_both_report_it() {
    let mut own = Own::default();
    own.change_rows(at(0), &rows([row(WEB, &[1, 2]), row(API, &[2, 3])]));
    own.observe(at(0), 2, 0, 0);
    own.observe(at(1), 2, 1, 1);
    assert_eq!(own.dirty().collect::<Vec<_>>(), [WEB, API]);
    for id in [WEB, API] {
        assert_eq!(own.report(at(1), id, false, NAMED), Some((1, vec![(addr(2), 1)])));
    }
    assert_eq!(own.used(), [WEB, API]);
    own.forget(at(700_000));
    assert_eq!(own.used(), [WEB, API], "it has a connection");
    own.observe(at(700_000), 2, 0, 1);
    own.forget(at(1_400_000));
    assert_eq!(own.used(), []);
}

#[test]
fn what_left_a_row_counts_for_a_while() {
    let mut own = Own::default();
    own.change_rows(at(0), &rows([row(WEB, &[1, 2])]));
    own.observe(at(0), 1, 5, 5);
    own.change_rows(at(1_000), &rows([row(WEB, &[2])]));
    own.observe(at(1_500), 1, 3, 5);
    assert_eq!(own.left(at(2_000), WEB), [(addr(1), 3)]);
    assert_eq!(own.report(at(2_000), WEB, true, NAMED).unwrap().1, [(addr(1), 3)]);
    assert_eq!(own.left(at(31_000), WEB), []);
    // It is back before.
    own.change_rows(at(3_000), &rows([row(WEB, &[1, 2])]));
    assert_eq!(own.left(at(3_000), WEB), []);
    // Its identifier has gone to another backend.
    let mut other = row(WEB, &[2]);
    other.backends.push(RowBackend { id: 1, addr: addr(9), weight: 1 });
    own.change_rows(at(4_000), &rows([other]));
    assert_eq!(own.active(1), 0);
}

#[test]
fn a_new_steward_hears_everything() {
    let mut own = Own::default();
    own.change_rows(at(0), &rows([row(WEB, &[1, 2])]));
    own.observe(at(0), 1, 5, 5);
    assert!(own.report(at(0), WEB, false, NAMED).is_some());
    own.renew(WEB);
    assert_eq!((own.dirty().count(), own.reported_at(WEB)), (1, None));
    assert_eq!(own.report(at(1), WEB, false, NAMED), Some((0, vec![(addr(1), 5)])));
}

#[test]
fn what_comes_to_a_service_with_connections_is_news_of_it() {
    let mut own = Own::default();
    own.change_rows(at(0), &rows([row(WEB, &[1, 2])]));
    own.observe(at(0), 1, 5, 5);
    own.report(at(0), WEB, false, NAMED);
    // Another Service is put over pods that are in use.
    own.change_rows(at(1), &rows([row(API, &[1, 2])]));
    assert_eq!(own.dirty().collect::<Vec<_>>(), [API]);
    assert_eq!((own.used(), own.changed()), (vec![WEB, API], [WEB, API].into()));
    assert_eq!(own.report(at(1), API, false, NAMED), Some((0, vec![(addr(1), 5)])));
    // A backend comes back to a Service after it was forgotten there.
    own.change_rows(at(2), &rows([row(WEB, &[2])]));
    own.forget(at(40_000));
    assert_eq!(own.services_of(1), [API]);
    own.change_rows(at(40_000), &rows([row(WEB, &[1, 2])]));
    assert_eq!(own.services_of(1), [API, WEB]);
    assert_eq!(own.report(at(40_000), WEB, false, NAMED), Some((0, vec![(addr(1), 5)])));
}

#[test]
fn what_is_changed_leaves_the_rest_as_it_is() {
    let mut own = Own::default();
    own.change_rows(at(0), &rows([row(WEB, &[1, 2]), row(API, &[2, 3])]));
    own.observe(at(0), 2, 1, 1);
    own.change_rows(at(1), &[(WEB, Vec::new())].into());
    assert_eq!(own.services().collect::<Vec<_>>(), [API]);
    assert_eq!((own.dirty().collect::<Vec<_>>(), own.used()), (vec![API], vec![API]));
    assert_eq!((own.services_of(1), own.services_of(2)), (&[][..], &[API][..]));
    assert_eq!(own.active(2), 1);
    own.change_rows(at(2), &[(WEB, vec![row(WEB, &[1])]), (API, Vec::new())].into());
    assert_eq!((own.services().collect::<Vec<_>>(), own.active(2)), (vec![WEB], 0));
    assert_eq!((own.services_at(&addr(1)), own.services_at(&addr(2))), (&[WEB][..], &[][..]));
}

/// Its connections may have ended meanwhile, of which its steward has not heard.
#[test]
fn a_service_that_comes_back_is_reported_also_without_connections() {
    let back = |after: u64| {
        let mut own = Own::default();
        own.change_rows(at(0), &rows([row(WEB, &[1]), row(API, &[2])]));
        own.observe(at(0), 1, 0, 0);
        own.observe(at(1), 1, 1, 1);
        own.report(at(1), WEB, false, NAMED);
        own.change_rows(at(2), &[(WEB, Vec::new()), (API, Vec::new())].into());
        own.forget(at(2 + after));
        own.change_rows(at(2 + after), &rows([row(WEB, &[1]), row(API, &[2])]));
        let dirty: Vec<_> = own.dirty().collect();
        (dirty, own.used(), own.report(at(2 + after), WEB, true, NAMED))
    };
    assert_eq!(back(9_000), (vec![WEB], vec![WEB], Some((0, Vec::new()))));
    assert_eq!(back(20_000), (vec![], vec![], Some((0, Vec::new()))));
}
