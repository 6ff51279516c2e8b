//! The isolate's behaviour, driven through its public API.

mod abuse;
mod abuse_cases;

fn main() {
    let tests = [abuse::tests()];
    skep_test_support::main(tests.into_iter().flatten().collect());
}
