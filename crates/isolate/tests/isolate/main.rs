//! The isolate's behaviour, driven through its public API.

mod abuse;
mod abuse_cases;
mod attribution;
mod code;
mod compatibility;
mod conformance;
mod escape;
mod handlers;
mod late;
mod memory;
mod outbound;
mod rpc;
mod scale;
mod services;
mod streams;
mod threads;

fn main() {
    let tests = [
        abuse::tests(),
        attribution::tests(),
        code::tests(),
        compatibility::tests(),
        conformance::tests(),
        escape::tests(),
        handlers::tests(),
        late::tests(),
        memory::tests(),
        outbound::tests(),
        rpc::tests(),
        scale::tests(),
        services::tests(),
        streams::tests(),
        threads::tests(),
    ];
    skep_test_support::main(tests.into_iter().flatten().collect());
}
