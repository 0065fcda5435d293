//! The runtime with components built from text: what is refused and why, what calls answer, what threads see.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod support;
#[cfg(test)]
mod threads;
