//! The maps and the programs as the object has them: the pins, the sizes and the docs say the same.

mod stack;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use aya_obj::{Map, Object};
use balancer_agent::{
    config::Capacities,
    kernel::{link::PROGRAMS, outside, sizes},
    maps::pins::MAPS,
};
use balancer_common::layout::{LAYOUT_VERSION, TraceEvent};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BALANCER_EBPF_OBJECT"));
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_RINGBUF`.
const RING: u32 = 27;
/// The kernel's own, before each event (`BPF_RINGBUF_HDR_SZ`).
const HEADER: u32 = 8;

fn object() -> Object {
    Object::parse(OBJECT).expect("the object")
}

/// The maps of the object; not the data of the programs, which have no names of their own.
fn maps(object: &Object) -> BTreeMap<&str, &Map> {
    let named = object.maps.iter().filter(|(name, _)| !name.starts_with('.'));
    named.map(|(name, map)| (name.as_str(), map)).collect()
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(path).expect("a page of the docs")
}

fn architecture() -> String {
    page("architecture.md")
}

/// The rows of the table of maps, by the name of the map: its columns after that.
fn documented(page: &str) -> BTreeMap<String, Vec<String>> {
    let table = page.split("\n## Maps\n").nth(1).expect("a section `Maps`");
    let rows = table.lines().take_while(|line| !line.starts_with("## "));
    let rows = rows.filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").expect("a name");
        (name.to_owned(), rest.split(" | ").map(str::to_owned).collect())
    })
    .collect()
}

/// A number with commas between thousands.
fn number(text: &str) -> Option<u64> {
    text.replace(',', "").parse().ok()
}

/// What the text says of bytes: `8 and 4 B`, `6 times 64 B`, `525,312 words of 8 B`, `32 B`.
fn bytes(text: &str) -> Option<(Option<u64>, u64)> {
    let words: Vec<_> = text.strip_suffix(" B")?.split(' ').collect();
    let last = number(words.last()?)?;
    Some(match words.as_slice() {
        [.., key, "and", _] => (Some(number(key)?), last),
        [.., count, "times", _] | [.., count, _, "of", _] => (None, number(count)? * last),
        _ => (None, last),
    })
}

#[test]
fn every_map_of_the_object_is_pinned() {
    let object = object();
    let found: BTreeSet<_> = maps(&object).into_keys().collect();
    let pinned: BTreeSet<_> = MAPS.into_iter().collect();
    assert_eq!(found, pinned, "balancer-agent/src/maps/pins.rs");
    assert!(sizes(Capacities::default()).iter().all(|(name, _)| found.contains(name)));
}

#[test]
fn every_program_of_the_object_is_attached() {
    let object = object();
    let found: BTreeSet<_> = object.programs.keys().map(String::as_str).collect();
    let outside = outside::PROGRAMS.iter().map(|(name, _)| name);
    let names: Vec<_> =
        PROGRAMS.iter().chain(outside).map(|name| format!("balancer_{name}")).collect();
    let attached: BTreeSet<_> = names.iter().map(String::as_str).collect();
    assert_eq!(found, attached, "balancer-agent/src/kernel/link.rs");
}

#[test]
fn the_docs_name_and_count_what_the_object_has() {
    let (object, page) = (object(), architecture());
    let (programs, maps) = (object.programs.len(), maps(&object).len());
    let counted = format!("balancer is {programs} eBPF programs, {maps} maps,");
    assert!(page.contains(&counted), "docs/architecture.md does not say: {counted}");
    let mebibytes = documented(&page).into_values().map(|columns| columns[2].parse::<f64>());
    let sum: f64 = mebibytes.map(|mebibytes| mebibytes.expect("MiB")).sum();
    let summed = format!("the sum: {sum:.1} MiB.");
    assert!(page.contains(&summed), "docs/architecture.md does not say: {summed}");
    let table = page.split("\n## The programs\n").nth(1).expect("a section `The programs`");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let first: String = rows.filter_map(|line| line.split(" | ").next()).collect();
    let name = |program: &String| format!("`{}`", program.trim_start_matches("balancer_"));
    let missing: Vec<_> =
        object.programs.keys().map(name).filter(|name| !first.contains(name)).collect();
    assert!(missing.is_empty(), "docs/architecture.md, The programs, lacks {missing:?}");
}

#[test]
fn the_docs_say_where_this_layout_is_pinned() {
    let folder = format!("/v{LAYOUT_VERSION}/");
    for name in ["architecture.md", "security.md"] {
        assert!(page(name).contains(&folder), "docs/{name} does not say {folder}");
    }
}

#[test]
fn the_table_of_maps_in_the_docs_is_that_of_the_object() {
    let (object, page) = (object(), architecture());
    let (maps, documented) = (maps(&object), documented(&page));
    let rows: BTreeSet<_> = documented.keys().map(String::as_str).collect();
    let there: BTreeSet<_> = maps.keys().copied().collect();
    assert_eq!(rows, there, "docs/architecture.md, Maps");
    let configured: BTreeMap<_, _> = sizes(Capacities::default()).into_iter().collect();
    for (name, map) in maps {
        let [is, entries, mebibytes, ..] = documented[name].as_slice() else {
            panic!("{name}: {:?}", documented[name])
        };
        let is = is.split(": ").last().and_then(|text| text.split(", ").last().and_then(bytes));
        let Some((key, value)) = is else { panic!("{name}: no size in {:?}", documented[name]) };
        let is_ring = map.map_type() == RING;
        let size = if is_ring { size_of::<TraceEvent>() as u32 } else { map.value_size() };
        assert_eq!(value, u64::from(size), "{name}: bytes of a value");
        if let Some(key) = key {
            assert_eq!(key, u64::from(map.key_size()), "{name}: bytes of a key");
        }
        let room = configured.get(name).copied().unwrap_or(map.max_entries());
        // Of a ring buffer that is its bytes.
        let room = if is_ring { room / (size + HEADER) } else { room };
        if room > 0 {
            assert_eq!(number(entries), Some(u64::from(room)), "{name}: entries");
        }
        if map.map_type() == ARRAY {
            let bytes = f64::from(room) * f64::from(map.value_size().next_multiple_of(8));
            assert_eq!(*mebibytes, format!("{:.1}", bytes / f64::from(1 << 20)), "{name}: MiB");
        }
    }
}

#[test]
fn the_docs_say_how_long_entries_of_every_map_live() {
    let page = architecture();
    let lifetime = page.split("\n\n").find(|text| text.starts_with("Lifetime: "));
    let lifetime = lifetime.expect("a paragraph that begins with `Lifetime: `");
    let missing: Vec<_> =
        MAPS.iter().filter(|name| !lifetime.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/architecture.md, Lifetime, says nothing of {missing:?}");
}
