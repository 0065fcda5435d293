//! Work that gives way to requests: compiling and trying out a component can wait, a token cannot.

use std::thread;

use rustix::process::setpriority_process;

/// The niceness of such work: under full load it gets a third of what another thread gets.
const NICENESS: i32 = 5;

/// Does the work on a thread of its own that gives way to others, and waits for it. The compiler's helpers, which the
/// first such thread begets, give way too. Nothing that requests wait for may be done in here.
pub(super) fn gently<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let quiet = || {
        // Linux counts niceness by thread, and this one means itself. Where that is refused, it costs only manners.
        if let Err(error) = setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "cannot lower a thread's priority");
        }
        work()
    };
    thread::scope(|scope| match scope.spawn(quiet).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_work_gives_way() {
        let before = getpriority_process(None).unwrap();
        let within = gently(|| getpriority_process(None).unwrap());
        assert_eq!((within, getpriority_process(None).unwrap()), (NICENESS.max(before), before));
    }

    #[test]
    #[should_panic(expected = "what went wrong")]
    fn a_panic_is_the_callers() {
        gently(|| panic!("what went wrong"));
    }
}
