//! The engine over real HTTP, on loopback, with a tiny checkpoint made up from a seed.

#[cfg(test)]
mod harness;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod continuation;
#[cfg(test)]
mod gguf;
#[cfg(test)]
mod life;
#[cfg(test)]
mod sampling;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod traces;
