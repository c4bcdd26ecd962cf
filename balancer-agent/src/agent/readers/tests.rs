use super::*;

fn line() -> TraceView {
    TraceView::Dropped(DroppedView { full: 1, ..DroppedView::default() })
}

fn question(verdict: &str) -> TraceQuestion {
    TraceQuestion { verdict: Some(verdict.to_owned()), ..TraceQuestion::default() }
}

#[test]
fn programs_tell_what_somebody_asks_for() {
    let tracing = Arc::<Tracing>::default();
    assert_eq!(tracing.wanted().bits, 0, "nobody reads");
    let one = tracing.subscribe(question("not-service")).expect("a reader");
    assert_eq!(tracing.wanted().bits, Told::NoService.bit());
    let two = tracing.subscribe(question("no-endpoint")).expect("another");
    assert_eq!(tracing.wanted().bits, Told::NoService.bit() | Told::Refusal.bit());
    drop(one);
    assert_eq!(tracing.wanted().bits, Told::Refusal.bit());
    let all = tracing.subscribe(TraceQuestion::default()).expect("a third");
    drop(two);
    let want = [Told::Choice, Told::Refusal, Told::End, Told::State];
    assert_eq!(tracing.wanted().bits, want.map(Told::bit).into_iter().sum::<u32>());
    drop(all);
    assert_eq!(tracing.wanted().bits, 0);
}

#[test]
fn who_comes_while_programs_are_switched_on_waits_for_the_next_time() {
    let tracing = Arc::<Tracing>::default();
    let mut first = tracing.subscribe(question("no-endpoint")).expect("a reader");
    let wanted = tracing.wanted();
    let mut late = tracing.subscribe(question("not-service")).expect("another");
    tracing.begin(&wanted);
    assert_eq!(first.lines.try_recv(), Ok(TraceView::Begun));
    assert!(late.lines.try_recv().is_err(), "programs do not tell it yet");
    tracing.begin(&tracing.wanted());
    assert_eq!(late.lines.try_recv(), Ok(TraceView::Begun));
    assert!(first.lines.try_recv().is_err(), "it knows");
}

#[test]
fn who_does_not_read_is_told_how_much_it_missed_and_holds_up_nobody() {
    let tracing = Arc::<Tracing>::default();
    let mut slow = tracing.subscribe(TraceQuestion::default()).expect("a reader");
    let mut quick = tracing.subscribe(TraceQuestion::default()).expect("a reader");
    let mut read = 0;
    for _ in 0..QUEUE + 10 {
        tracing.deliver(&line());
        while quick.lines.try_recv().is_ok() {
            read += 1;
        }
    }
    assert_eq!(read, QUEUE + 10, "the quick one misses nothing");
    for _ in 0..QUEUE {
        assert_eq!(slow.lines.try_recv().expect("a line"), line());
    }
    assert!(slow.lines.try_recv().is_err(), "the rest did not wait");
    tracing.dropped(Dropped { capped: 5, full: 0 });
    let missed = DroppedView { capped: 5, full: 0, behind: 10 };
    assert_eq!(slow.lines.try_recv(), Ok(TraceView::Dropped(missed)));
    tracing.dropped(Dropped::default());
    assert!(slow.lines.try_recv().is_err(), "it is told once");
}

#[test]
fn readers_are_few() {
    let tracing = Arc::<Tracing>::default();
    let ask = || tracing.subscribe(TraceQuestion::default());
    let mut readers: Vec<_> = (0..READERS).map(|_| ask().expect("a reader")).collect();
    let refused = ask().err().expect("one too many").to_string();
    assert!(refused.contains("16 already read"), "{refused}");
    readers.pop();
    assert!(ask().is_ok(), "one has ended");
}
