//! The shipped components, as built, in the real runtime.

#[cfg(test)]
mod shipped;
