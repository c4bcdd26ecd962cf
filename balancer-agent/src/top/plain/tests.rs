use super::*;
use crate::top::testing;

fn shown(form: Form, headers: bool, timed: bool) -> String {
    let order = Order::named(SERVICES, "service").unwrap();
    text(form, testing::model().view().clone(), order, headers, timed).unwrap()
}

#[test]
fn a_table_has_every_column_and_a_time_where_rows_are_appended() {
    let table = shown(Form::Table, true, false);
    let mut lines = table.lines();
    let header = lines.next().unwrap();
    for column in SERVICES {
        assert!(header.contains(column.name), "{header}");
    }
    assert!(lines.next().unwrap().starts_with("shop/cart "));
    let rows = shown(Form::Table, false, true);
    assert!(rows.starts_with("2026-01-01T00:00:10Z"), "{rows}");
    assert_eq!(rows.lines().count(), 2);
}

#[test]
fn values_are_plain_numbers() {
    let tsv = shown(Form::Tsv, true, false);
    let rows: Vec<Vec<&str>> = tsv.lines().map(|line| line.split('\t').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == SERVICES.len() + 1), "{tsv}");
    assert_eq!(rows[0][..3], ["time", "service", "port"]);
    let want = "2026-01-01T00:00:10Z shop/cart 80/TCP 12  1 1 0.2 2/2 3 9 1.5 5120 1.6 0 \
                least-connections";
    assert_eq!(rows[1].join(" "), want);
}

#[test]
fn an_object_is_a_line() {
    let json = shown(Form::Json, true, true);
    assert_eq!(json.lines().count(), 1);
    let view: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["elapsed_ms"], 10_000);
    assert_eq!(view["services"][0]["backends"][1]["failed_per_s"], 0.2);
}
