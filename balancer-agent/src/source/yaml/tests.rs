//! What kubectl 1.32 gave for each text (`kubectl label --local -o json -f FILE a=b`).

use serde_json::{Value, json};

use super::{compose::DEEPEST, *};

fn value(text: &str) -> Value {
    read(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).value
}

fn refusal(text: &str) -> String {
    match read(text) {
        Err(error) => error.to_string(),
        Ok(read) => panic!("{text:?} is read as {}", read.value),
    }
}

#[test]
fn texts_without_quotes_mean_what_they_mean_to_kubectl() {
    for (words, want) in [
        ("y Y yes Yes YES true True TRUE on On ON", json!(true)),
        ("n N no No NO false False FALSE off Off OFF", json!(false)),
        ("~ null Null NULL", json!(null)),
        (
            "80 0120 0x50 0X50 0o120 0O120 0b1010000 80.0 8e1 8E1 8e+1 80. 0_120 8_0 80_ +80",
            json!(80),
        ),
        ("-80 -0120 -0x50 -0b1010000 -80.0", json!(-80)),
        ("0 00 -0 -0.0 0.0", json!(0)),
        ("08 0_8 8.", json!(8)),
        ("1__0 1_0.0", json!(10)),
        ("100 1e2 1.e2 1e+2", json!(100)),
        ("15 0o_17 0B1111", json!(15)),
        ("1e1_0", json!(10_000_000_000_i64)),
        (".5 +.5 5e-1", json!(0.5)),
        ("09.5", json!(9.5)),
        ("1e-7", json!(1e-7)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_f64)),
        ("-9223372036854775809", json!(-9_223_372_036_854_775_809_f64)),
        ("1e21", json!(1e21)),
    ] {
        for word in words.split(' ') {
            assert_eq!(value(&format!("v: {word}")), json!({"v": want}), "{word}");
        }
    }
}

#[test]
fn what_only_looks_like_a_word_or_a_number_is_text() {
    for word in [
        "oN",
        "yES",
        "tRUE",
        "nULL",
        "_1",
        "1e400",
        ".",
        "+",
        "12:30:45",
        "1:20",
        "2001-01-01",
        "2001-01-01T00:00:00Z",
        "0x",
        "0b",
        "0o8",
        "1,000",
        "=",
        "<<x",
        "1.2.3",
        "10.0.0.1",
        "inf",
        "NaN",
        "infinity",
        "0xFFFFFFFFFFFFFFFFF",
        "++5",
        "1e",
        "1p4",
        "0x1p4",
        "0x-1",
        "-a",
        "1.5.",
    ] {
        assert_eq!(value(&format!("v: {word}")), json!({"v": word}), "{word}");
    }
    for (text, want) in [
        ("\"80\"", "80"),
        ("'yes'", "yes"),
        ("|\n  80\n", "80\n"),
        (">-\n  80\n", "80"),
        ("!!str 0120", "0120"),
        ("!!str ~", "~"),
        ("!!str", ""),
        ("! 80", "80"),
        ("!foo 80", "80"),
        ("!!foo 80", "80"),
        ("!!timestamp 2001-01-01", "2001-01-01"),
    ] {
        assert_eq!(value(&format!("v: {text}")), json!({"v": want}), "{text}");
    }
}

#[test]
fn tags_of_yaml_are_checked() {
    for (text, want) in [
        ("!!int \"80\"", json!(80)),
        ("!!int 0x50", json!(80)),
        ("!<tag:yaml.org,2002:int> \"7\"", json!(7)),
        ("!!float 0120", json!(80)),
        ("!!float \"1e2\"", json!(100)),
        ("!!bool \"yes\"", json!(true)),
        ("!!null \"\"", json!(null)),
        ("!!set {a, b}", json!({"a": null, "b": null})),
        ("!!omap [a: 1]", json!([{"a": 1}])),
        ("!!str {a: 1}", json!({"a": 1})),
    ] {
        assert_eq!(value(&format!("v: {text}")), json!({"v": want}), "{text}");
    }
    for text in ["!!int yes", "!!bool 1", "!!null x", "!!float x"] {
        let told = refusal(&format!("a: 1\nv: {text}"));
        assert!(told.contains("not of its type") && told.contains("line 2"), "{text}: {told}");
    }
    assert!(refusal("v: .inf").contains("no number that JSON has"));
    assert!(refusal("v: !!binary aGk=").contains("!!binary is not read"));
}

#[test]
fn structure_is_read_as_kubectl_reads_it() {
    for (text, want) in [
        ("", json!(null)),
        ("# nothing\n", json!(null)),
        ("v:", json!({"v": null})),
        ("{yes: 1, off: 2}", json!({"true": 1, "false": 2})),
        ("{1: a, 0120: b, 1.5: c}", json!({"1": "a", "80": "b", "1.5": "c"})),
        ("{\"\": a, !!str yes: 1}", json!({"": "a", "yes": 1})),
        ("\u{feff}a: 1\nb: 2\n", json!({"a": 1, "b": 2})),
        ("\u{feff}---\na: 1\n", json!({"a": 1})),
        ("a: 1\r\nb:\r\n- x\r\n", json!({"a": 1, "b": ["x"]})),
        ("v: [\na,\nb\n]\n", json!({"v": ["a", "b"]})),
        ("v:\n- - a\n  - b\n- c: d\n  e: f\n", json!({"v": [["a", "b"], {"c": "d", "e": "f"}]})),
        ("? a\n: b\n", json!({"a": "b"})),
        ("%YAML 1.1\n---\na: 1\n", json!({"a": 1})),
        ("{\"a\":\"b\",\"c\":[1,2.0,true,null]}", json!({"a": "b", "c": [1, 2, true, null]})),
        ("a: &v 0120\nb: *v\n", json!({"a": 80, "b": 80})),
        ("{&k x: 1, z: {*k : 2}}", json!({"x": 1, "z": {"x": 2}})),
        ("x: &a [1]\nz: [*a, *a]\n", json!({"x": [1], "z": [[1], [1]]})),
        (
            "a: &a {x: 1, z: 2}\nb: {<<: *a, z: 3}\nc: {z: 3, <<: *a}\n",
            json!({"a": {"x": 1, "z": 2}, "b": {"x": 1, "z": 3}, "c": {"x": 1, "z": 2}}),
        ),
        (
            "a: &a {x: 1}\nb: &b {x: 5, z: 6}\nc: {<<: [*a, *b], w: 3}\n",
            json!({"a": {"x": 1}, "b": {"x": 5, "z": 6}, "c": {"x": 1, "z": 6, "w": 3}}),
        ),
        ("a: {<<: {x: 1}, <<: {z: 2}}", json!({"a": {"x": 1, "z": 2}})),
        ("a: {\"<<\": {x: 1}}", json!({"a": {"<<": {"x": 1}}})),
    ] {
        assert_eq!(value(text), want, "{text:?}");
    }
}

#[test]
fn what_kubectl_refuses_is_refused_with_its_place() {
    for (text, words) in [
        ("a: 1\n~: x\n", "a key that is no text at line 2 column 1"),
        ("a: 1\n[a]: x\n", "a key that is no text at line 2 column 1"),
        ("? {a: b}\n: c\n", "a key that is no text at line 1"),
        ("a: {<<: 5}", "<< takes a mapping or a list of mappings at line 1 column 9"),
        ("a: {<<: }", "<< takes a mapping"),
        ("a: {<<: [5]}", "<< takes a mapping"),
        ("a: *x", "unknown anchor at line 1 column 4"),
        ("a: &x {b: *x}", "the alias stands within what it means at line 1 column 11"),
        ("spec:\n\ta: b\n", "line 2"),
        ("a: @x", "line 1 column 4"),
        ("a: x\nb: \"\u{7}\"\n", "control characters are not allowed at line 2 column 5"),
        ("\u{0}", "control characters are not allowed at line 1 column 1"),
        ("a: [1, 2", "line 1"),
        ("a: 1\n b: 2\n", "line 2"),
        ("a: \"never\n  closed\n", "line"),
    ] {
        let told = refusal(text);
        assert!(told.contains(words), "{text:?}: {told}");
    }
}

#[test]
fn of_a_key_that_is_there_twice_the_last_counts_and_it_is_told() {
    let found = read("a: 1\nb:\n  80: first\n  0120: last\n").expect("YAML");
    assert_eq!(found.value, json!({"a": 1, "b": {"80": "last"}}));
    assert_eq!(found.repeated, Some(("80".to_owned(), 4)));
    assert_eq!(read("a: &a {x: 1}\nb: {<<: *a, x: 2}\n").expect("YAML").repeated, None);
}

#[test]
fn depth_and_copies_are_bounded() {
    for depth in [DEEPEST, DEEPEST + 1, 10_000] {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read(&text).is_ok(), depth <= DEEPEST, "{depth}");
    }
    let deep =
        |depth| (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    assert!(read(&deep(DEEPEST)).is_ok());
    assert!(read(&deep(1_000)).is_err());

    let mut bomb = format!("a0: &a0 [{}]\n", ["text"; 10].join(","));
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(","));
    }
    assert!(refusal(&bomb).contains("aliases make the document too large"));

    // As a slice of a thousand endpoints may be written.
    let entry = "- {addresses: [10.0.0.1], conditions: *c, nodeName: *n, zone: *z}\n";
    let head = "c: &c {ready: true, serving: true}\nn: &n worker-1\nz: &z eu-1\nendpoints:\n";
    let found = value(&format!("{head}{}", entry.repeat(1_000)));
    assert_eq!(found["endpoints"][999]["conditions"], json!({"ready": true, "serving": true}));
}

#[test]
fn a_value_may_be_long_wherever_it_stands() {
    let long = "x".repeat(250_000);
    for text in [
        format!("{{a: \"{long}\", b: {long}, c: '{long}'}}"),
        format!("a: \"{long}\"\nb: {long}\nc: '{long}'\n"),
        format!("{{\"a\":\"{long}\",\"b\":\"{long}\",\"c\":\"{long}\"}}"),
    ] {
        let found = value(&text);
        for key in ["a", "b", "c"] {
            assert_eq!(found[key].as_str().map(str::len), Some(long.len()), "{key}");
        }
    }
}

#[test]
fn a_large_document_is_read_whole() {
    let text = (0..100_000).map(|n| format!("- {{n: {n}, t: x}}\n")).collect::<String>();
    assert_eq!(value(&text).as_array().map(Vec::len), Some(100_000));
}
