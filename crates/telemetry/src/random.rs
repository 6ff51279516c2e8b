//! New ids, at random: from the generator that TLS uses, so that nobody outside can guess or repeat them.
//!
//! All bytes are random, as flag `random` of the second level of Trace Context promises.
//! <https://www.w3.org/TR/trace-context-2/#random-trace-id-flag>

use crate::Id;

impl<const BYTES: usize> Id<BYTES> {
    /// An id that nothing else has.
    pub fn random() -> Self {
        loop {
            let mut bytes = [0; BYTES];
            aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
            if let Some(id) = Self::new(bytes) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{SpanId, TraceId};

    #[test]
    fn no_two_are_the_same() {
        let traces: BTreeSet<_> = (0..1000).map(|_| TraceId::random()).collect();
        let spans: BTreeSet<_> = (0..1000).map(|_| SpanId::random()).collect();
        assert_eq!((traces.len(), spans.len()), (1000, 1000));
    }
}
