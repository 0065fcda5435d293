//! The runtime with components built from text: what is refused and why, what calls answer, what threads see.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod compiled;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod handover;
#[cfg(test)]
#[path = "../e2e/recorder.rs"]
mod recorder;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod support;
#[cfg(test)]
mod threads;
