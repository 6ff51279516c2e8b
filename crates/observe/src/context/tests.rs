//! Cases of the specification and of the W3C's own test suite (<https://github.com/w3c/trace-context/tree/main/test>), and random ones.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "1234567890123456";

#[test]
fn a_traceparent_is_strict() {
    use TraceContextError::{Flags, Parent, Shape, Trace, Version};
    let good = format!("00-{TRACE}-{PARENT}-01");
    let check = |text: &str, expected: Result<u8, TraceContextError>| {
        let found: Result<TraceContext, _> = text.parse();
        assert_eq!(found.as_ref().map(|context| context.flags.bits()).map_err(|error| *error), expected, "{text:?}");
        if let Ok(context) = found {
            assert_eq!((context.trace.to_string(), context.parent.to_string()), (TRACE.into(), PARENT.into()));
        }
    };
    check(&good, Ok(1));
    check(&format!("00-{TRACE}-{PARENT}-00"), Ok(0));
    // Flags that have no meaning are zero from here on.
    check(&format!("00-{TRACE}-{PARENT}-09"), Ok(1));
    check(&format!("00-{TRACE}-{PARENT}-ff"), Ok(3));
    check(&format!("00-{TRACE}-{PARENT}-02"), Ok(2));
    // White space that HTTP allows around a value.
    check(&format!("\t {good} \t"), Ok(1));
    // Version 00 has nothing more.
    check(&format!("{good}."), Err(Shape));
    check(&format!("{good}-"), Err(Shape));
    check(&format!("{good}-what-the-future-will-be-like"), Err(Shape));
    // Later versions may.
    check(&format!("cc-{TRACE}-{PARENT}-01"), Ok(1));
    check(&format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"), Ok(1));
    check(&format!("01-{TRACE}-{PARENT}-01-"), Ok(1));
    check(&format!("cc-{TRACE}-{PARENT}-01.what-the-future-will-be-like"), Err(Shape));
    check(&format!("fe-{TRACE}-{PARENT}-01"), Ok(1));
    check(&format!("ff-{TRACE}-{PARENT}-01"), Err(Version));
    check(&format!(".0-{TRACE}-{PARENT}-01"), Err(Version));
    check(&format!("0.-{TRACE}-{PARENT}-01"), Err(Version));
    check(&format!("CC-{TRACE}-{PARENT}-01"), Err(Version));
    check(&format!("000-{TRACE}-{PARENT}-01"), Err(Shape));
    check(&format!("0000-{TRACE}-{PARENT}-01"), Err(Shape));
    check(&format!("0-{TRACE}-{PARENT}-01"), Err(Shape));
    // Ids.
    check(&format!("00-{}-{PARENT}-01", "0".repeat(32)), Err(Trace(IdError::Zero)));
    check(&format!("00-.{}-{PARENT}-01", &TRACE[1..]), Err(Trace(IdError::Digit)));
    check(&format!("00-{}.-{PARENT}-01", &TRACE[1..]), Err(Trace(IdError::Digit)));
    check(&format!("00-{}A-{PARENT}-01", &TRACE[1..]), Err(Trace(IdError::Digit)));
    check(&format!("00-{TRACE}3-{PARENT}-01"), Err(Shape));
    check(&format!("00-{}-{PARENT}-01", &TRACE[1..]), Err(Shape));
    check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), Err(Parent(IdError::Zero)));
    check(&format!("00-{TRACE}-.{}-01", &PARENT[1..]), Err(Parent(IdError::Digit)));
    check(&format!("00-{TRACE}-{}B-01", &PARENT[1..]), Err(Parent(IdError::Digit)));
    check(&format!("00-{TRACE}-{PARENT}7-01"), Err(Shape));
    check(&format!("00-{TRACE}-{}-01", &PARENT[1..]), Err(Shape));
    // Flags.
    check(&format!("00-{TRACE}-{PARENT}-.0"), Err(Flags));
    check(&format!("00-{TRACE}-{PARENT}-0."), Err(Flags));
    check(&format!("00-{TRACE}-{PARENT}-0A"), Err(Flags));
    check(&format!("00-{TRACE}-{PARENT}-001"), Err(Shape));
    check(&format!("00-{TRACE}-{PARENT}-1"), Err(Shape));
    // Anything else.
    check("", Err(Shape));
    check("00", Err(Shape));
    check(&"é".repeat(28), Err(Shape));
    check(&good.replace('-', "_"), Err(Shape));
}

#[test]
fn a_tracestate_is_checked_and_passed_on() {
    use TraceStateError::{Member, Members, Twice};
    let check = |values: &[&str], expected: Result<&str, TraceStateError>| {
        let found = TraceState::from_headers(values);
        assert_eq!(found.as_ref().map(TraceState::as_str).map_err(|error| *error), expected, "{values:?}");
    };
    check(&[], Ok(""));
    check(&[""], Ok(""));
    check(&["foo=1"], Ok("foo=1"));
    check(&["foo=1,bar=2"], Ok("foo=1,bar=2"));
    check(&["foo=1", ""], Ok("foo=1"));
    check(&["", "foo=1"], Ok("foo=1"));
    check(&["foo=1,,bar=2, ,"], Ok("foo=1,bar=2"));
    check(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], Ok("foo=1,bar=2,rojo=1,congo=2,baz=3"));
    check(&["foo=1 \t , \t bar=2, \t baz=3"], Ok("foo=1,bar=2,baz=3"));
    check(&["\t foo=1 \t"], Ok("foo=1"));
    // A value may begin with spaces, and not end with one.
    check(&["foo=  1"], Ok("foo=  1"));
    check(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], Ok("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
    check(&["fw529a3039@dt=FfffffffA, 1@nr=0-0"], Ok("fw529a3039@dt=FfffffffA,1@nr=0-0"));
    for bad in ["foo =1", "FOO=1", "foo.bar=1", "1foo=1", "foo", "foo=", "=1", "foo=bar=baz", "foo=\u{7f}", "foo=é"] {
        check(&[bad], Err(Member));
        check(&["bar=2", bad], Err(Member));
    }
    for bad in ["foo@=1", "@foo=1", "foo@@bar=1", "foo@bar@baz=1", "foo@1bar=1"] {
        check(&[bad], Err(Member));
    }
    for values in [&["foo=1,foo=1"][..], &["foo=1,foo=2"], &["foo=1", "foo=1"], &["foo=1", "foo=2"]] {
        check(values, Err(Twice));
    }
    let members = |count: usize| (1..=count).map(|number| format!("bar{number:02}={number:02}")).collect::<Vec<_>>();
    check(&[&members(32).join(",")], Ok(&members(32).join(",")));
    check(&[&members(33).join(",")], Err(Members));
    let part = |letter: &str, length: usize| letter.repeat(length);
    check(&[&format!("{}=1", part("z", 256))], Ok(&format!("{}=1", part("z", 256))));
    check(&[&format!("{}=1", part("z", 257))], Err(Member));
    check(
        &[&format!("{}@{}=1", part("t", 241), part("v", 14))],
        Ok(&format!("{}@{}=1", part("t", 241), part("v", 14))),
    );
    check(&[&format!("{}@v=1", part("t", 242))], Err(Member));
    check(&[&format!("t@{}=1", part("v", 15))], Err(Member));
    check(&[&format!("foo={}", part("1", 256))], Ok(&format!("foo={}", part("1", 256))));
    check(&[&format!("foo={}", part("1", 257))], Err(Member));
}

#[test]
fn a_long_tracestate_loses_long_members_first_and_then_the_last_ones() {
    let check = |members: &[String], left: &[String]| {
        let state = TraceState::from_headers([members.join(",")]).expect("a state");
        assert_eq!(state.as_str(), left.join(","));
    };
    let member = |name: &str, length: usize| format!("{name}={}", "1".repeat(length - name.len() - 1));
    let (short, middle, long) = (|name| member(name, 100), |name| member(name, 128), |name| member(name, 200));
    check(&[long("a"), long("b")], &[long("a"), long("b")]);
    check(&[long("a"), short("b"), long("c"), short("d")], &[long("a"), short("b"), short("d")]);
    let five = ["a", "b", "c", "d", "e"].map(middle);
    check(&five, &five[..3]);
    check(&[member("a", 255), member("b", 256)], &[member("a", 255), member("b", 256)]);
    check(&[member("a", 256), member("b", 256)], &[member("a", 256)]);
}

#[test]
fn headers_are_read_together() {
    let good = format!("00-{TRACE}-{PARENT}-01");
    let none: [&str; 0] = [];
    assert_eq!(TraceContext::from_headers(none, ["foo=1"]), Ok(None));
    assert_eq!(TraceContext::from_headers([&good, &good], none), Err(TraceContextError::Several));
    assert_eq!(TraceContext::from_headers(["00"], ["foo=1"]), Err(TraceContextError::Shape));
    let context = TraceContext::from_headers([&good], ["foo=1", "bar=2"]).expect("a context").expect("one");
    assert_eq!((context.state.as_str(), context.flags.sampled()), ("foo=1,bar=2", true));
    // What is wrong with the state is no reason for another trace.
    let context = TraceContext::from_headers([&good], ["FOO=1"]).expect("a context").expect("one");
    assert_eq!((context.state.as_str(), context.traceparent()), ("", good));
    let span = SpanId::new([7; 8]).expect("an id");
    assert_eq!(context.of_span(span).to_string(), format!("00-{TRACE}-0707070707070707-01"));
}

proptest! {
    #[test]
    fn a_context_is_read_as_it_was_written(trace: [u8; 16], parent: [u8; 8], flags: u8) {
        prop_assume!(trace != [0; 16] && parent != [0; 8]);
        let context = TraceContext {
            trace: TraceId::new(trace).expect("an id"),
            parent: SpanId::new(parent).expect("an id"),
            flags: TraceFlags::new(flags),
            state: TraceState::default(),
        };
        prop_assert_eq!(context.traceparent().parse(), Ok(context));
    }

    #[test]
    fn a_state_is_read_as_it_was_written(
        names in prop::collection::btree_set("[a-z][a-z0-9_*/-]{0,20}|[a-z0-9]{1,9}@[a-z][a-z0-9]{0,9}", 0..12),
        value in "[ -+\\--<>-~]{0,9}[!-+\\--<>-~]",
    ) {
        let text = names.iter().map(|name| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        let state = TraceState::from_headers([&text]).expect("a state");
        if text.len() <= 512 {
            prop_assert_eq!(state.as_str(), &text);
        }
        prop_assert!(state.as_str().len() <= 512 && text.starts_with(state.as_str()));
        prop_assert_eq!(TraceState::from_headers([state.as_str()]), Ok(state));
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(parent: Vec<u8>, state: Vec<u8>, text in "[0-9a-f-]{50,60}") {
        drop(TraceContext::from_headers([&parent], [&state]));
        drop(TraceContext::from_headers([text.as_bytes()], [&state]));
    }
}
