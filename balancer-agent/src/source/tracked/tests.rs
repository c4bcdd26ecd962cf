use super::*;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n";

/// A step in the life of a file: what is read, whether a loss was waited for, what comes of it,
/// how many objects it then defines, and when it is due again.
type Step = (Bytes, bool, Outcome, usize, Option<Due>);

fn whole(text: &str) -> Bytes {
    Bytes::Whole(text.into())
}

fn play(steps: impl FnOnce(Instant) -> Vec<Step>) {
    let now = Instant::now();
    let mut file = Tracked::default();
    for (number, (bytes, patient, outcome, objects, due)) in steps(now).into_iter().enumerate() {
        let told = format!("step {number}: {bytes:?}");
        let fresh = Fresh { name: "a.yaml".into(), stamp: None, bytes, patient };
        file.due = None;
        assert_eq!(file.take_in(fresh, 0, now), outcome, "{told}");
        assert_eq!(file.content.definitions.len(), objects, "{told}");
        assert_eq!(file.due, due, "{told}");
    }
}

#[test]
fn a_loss_is_believed_the_second_time() {
    use Outcome::{Changed, Gone as IsGone, JustGone, Waiting};
    play(|now| {
        vec![
            (whole(SERVICE), false, Changed, 1, None),
            (whole(" \n"), false, Waiting, 1, Some(Due::patiently(now + EMPTY))),
            (whole(SERVICE), false, Changed, 1, None),
            (whole(""), false, Waiting, 1, Some(Due::patiently(now + EMPTY))),
            (whole(""), true, Changed, 0, None),
            (whole(""), false, Changed, 0, None),
            (whole(SERVICE), false, Changed, 1, None),
            (Bytes::Gone, false, JustGone, 1, Some(Due::patiently(now + GONE))),
            (Bytes::Gone, true, IsGone, 1, None),
        ]
    });
}

#[test]
fn what_can_not_be_read_keeps_what_was() {
    use Outcome::{Changed, Waiting};
    play(|now| {
        vec![
            (whole(SERVICE), false, Changed, 1, None),
            (Bytes::Moving, false, Waiting, 1, Some(Due::at(now + WRITING))),
            (Bytes::Refused("no".into()), false, Changed, 1, None),
            (whole("["), false, Changed, 1, None),
            (whole("# only a comment"), false, Changed, 0, None),
        ]
    });
}

#[test]
fn a_new_file_waits_only_if_it_is_empty() {
    use Outcome::{Changed, Gone as IsGone, Waiting};
    play(|_| vec![(Bytes::Gone, false, IsGone, 0, None)]);
    play(|now| {
        vec![
            (whole(""), false, Waiting, 0, Some(Due::patiently(now + EMPTY))),
            (whole(""), true, Changed, 0, None),
        ]
    });
}
