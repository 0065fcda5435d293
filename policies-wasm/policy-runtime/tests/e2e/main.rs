//! The shipped components, as built, in the real runtime; and what strangers may hand it.

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod shipped;
