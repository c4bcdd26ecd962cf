//! Who is given up, and what is blamed for it.

use super::{protocol::Reply, *};

/// What came of questions about connections of so many pods, to a process that says this; and
/// whether it is kept.
fn asked(pods: u64, replies: &[Reply]) -> (Vec<Answer>, bool, Arc<Watch>) {
    let watch = Arc::new(Watch::new());
    let process = Mutex::new(Some(Process::saying(replies)));
    let helper = Helper { cgroup: None, watch: Arc::clone(&watch), process };
    let backend: SocketAddr = ([10, 0, 0, 1], 80).into();
    let connection = |pod: u64| Recorded {
        index: 1,
        word: 1,
        service: 1,
        tgid: 7,
        netns: 1 << 40 | pod,
        local: ([10, 1, 0, 1], 4_000).into(),
        since_ns: 0,
    };
    let (answers, _) = helper.ask((0..pods).map(|pod| (connection(pod), backend)).collect());
    let kept = helper.process.lock().unwrap().is_some();
    (answers, kept, watch)
}

const GONE: Reply = Reply::Done(Done::Answered(Answer::Gone));
const FINISHED: Reply = Reply::Finished(Duration::ZERO);

#[test]
fn who_does_all_is_kept() {
    let (answers, kept, _) = asked(2, &[Reply::Alive, GONE, GONE, FINISHED]);
    assert_eq!((answers, kept), (vec![Answer::Gone, Answer::Gone], true));
}

#[test]
fn who_is_out_of_step_is_given_up() {
    let (answers, kept, watch) = asked(2, &[Reply::Alive, GONE, FINISHED]);
    assert_eq!((answers, kept), (vec![Answer::Gone, Answer::Later], false));
    assert!(watch.stuck().is_empty(), "no pod is to blame");
    // It has done everything, and says nothing more.
    let (answers, kept, watch) = asked(1, &[Reply::Alive, GONE]);
    assert_eq!((answers, kept), (vec![Answer::Gone], false));
    assert!(watch.stuck().is_empty(), "no pod is to blame");
}

#[test]
fn a_pod_is_blamed_for_what_it_holds_up_alone() {
    let (answers, kept, watch) = asked(2, &[Reply::Alive, GONE]);
    assert_eq!((answers, kept), (vec![Answer::Gone, Answer::Stuck], false));
    let blamed: Vec<_> = watch.stuck().iter().map(|stuck| stuck.subject.owner()).collect();
    assert_eq!(blamed, [(1 << 40 | 1, 7)]);
    for says in [&[][..], &[Reply::Alive, Reply::Looks]] {
        let (answers, kept, watch) = asked(1, says);
        assert_eq!((answers, kept), (vec![Answer::Later], false), "{says:?}");
        assert!(watch.stuck().is_empty(), "it starts, or looks at processes: {says:?}");
    }
}
