//! Builds policies to components: finds what each guest language needs, or gets it, and says which it took.
//!
//! Everything it downloads is pinned and kept in the user's cache, outside any `target`. Its own words go to stderr.

mod build;
mod cache;
mod contract;
mod debian;
mod guest_toolchain;
mod project;
mod python;
mod rust;
pub mod shell;
mod tools;
mod ts;
mod unit;

pub use build::{Built, build, install};
pub use contract::WIT;
pub use guest_toolchain::{GuestToolchain, TARGET};
pub use project::{Language, MANIFEST, Project};
pub use unit::unit;
