//! The engine over real HTTP, on loopback, with a tiny checkpoint made up from a seed.

mod harness;

mod answers;
mod bad_input;
mod life;
mod sampling;
mod streams;
mod traces;
