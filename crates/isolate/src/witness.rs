//! Who knows what runs at each moment, so that the death of the process can be explained.

/// Told which versions have a thread, and when their code runs. Calls come from the isolates' threads and must not block.
pub trait Witness: Send + Sync {
    /// A thread begins to run a version, by its id. What is returned is used on that thread and dropped when it ends.
    fn enter(&self, version: &str) -> Box<dyn Mark>;
}

/// What one thread says of itself.
pub trait Mark {
    /// Whether code of the version runs from now on.
    fn running(&self, running: bool);
}

/// Looks away: where nobody asks why a process died.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWitness;

impl Witness for NoWitness {
    fn enter(&self, _: &str) -> Box<dyn Mark> {
        Box::new(Self)
    }
}

impl Mark for NoWitness {
    fn running(&self, _: bool) {}
}
