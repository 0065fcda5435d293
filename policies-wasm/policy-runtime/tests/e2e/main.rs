//! The shipped components, as built, in the real runtime.

#[cfg(test)]
mod recorder;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod shipped;
