use super::*;

fn service(name: &str, port: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{clusterIP: 10.96.0.1, ports: [{{port: {port}}}]}}\n"
    )
}

/// `NAME:PORT`, with `!` for what is defined and can't be decoded, and when it began.
fn defined(content: &Content) -> Vec<(String, u64)> {
    let word = |key: &Key, found: &Found| match found {
        Found::Service(service) => {
            format!("{}:{}", key.id.name, service.ports.first().map_or(0, |port| port.port))
        }
        other => format!("{}!{other:?}", key.id.name),
    };
    content.definitions.iter().map(|(key, d)| (word(key, &d.found), d.since)).collect()
}

#[test]
fn what_a_file_defines_over_time() {
    // name of the step, the file's bytes, what it then defines and since when, is it whole
    type Step<'a> = (&'a str, Vec<u8>, &'a [(&'a str, u64)], bool);
    let (a, b) = (service("a", "1"), service("b", "1"));
    let steps: [Step<'_>; 10] = [
        ("broken at first", format!("{a}---\n[").into(), &[("a:1", 0)], false),
        ("mended", format!("{a}{b}").into(), &[("a:1", 0), ("b:1", 1)], true),
        ("a document broken", format!("{a}---\n[").into(), &[("a:1", 0), ("b:1", 1)], true),
        ("all of it broken", b"]".into(), &[("a:1", 0), ("b:1", 1)], true),
        ("not even text", vec![0xff], &[("a:1", 0), ("b:1", 1)], true),
        (
            "b can't be decoded",
            format!("{a}{}", service("b", "x")).into(),
            &[("a:1", 0), ("b:1", 1)],
            true,
        ),
        ("b is gone", a.clone().into(), &[("a:1", 0)], true),
        (
            "b comes broken",
            format!("{a}{}", service("b", "x")).into(),
            &[("a:1", 0), ("b!Undecodable", 7)],
            true,
        ),
        ("b is mended", format!("{a}{b}").into(), &[("a:1", 0), ("b:1", 8)], true),
        ("empty", Vec::new(), &[], true),
    ];
    let mut content = Content::default();
    for (now, (step, bytes, want, whole)) in steps.into_iter().enumerate() {
        content = content.reread("a.yaml", &bytes, now as u64);
        let want: Vec<_> = want.iter().map(|(name, since)| ((*name).to_owned(), *since)).collect();
        assert_eq!(defined(&content), want, "{step}: {:?}", content.problems);
        assert_eq!(content.was_whole, whole, "{step}");
    }
}

#[test]
fn a_prefix_of_a_file_never_loses_what_stands_in_it_whole() {
    let text = format!("{}{}{}", service("a", "1"), service("b", "1"), service("c", "1"));
    for end in 0..=text.len() {
        let before = Content::default().reread("a.yaml", text.as_bytes(), 0);
        let after = before.reread("a.yaml", &text.as_bytes()[..end], 1);
        let whole = text[..end].matches("}]}\n").count();
        let kept = defined(&after).len();
        assert!(kept >= whole, "{kept} of {whole} kept of {:?}", &text[..end]);
    }
}
