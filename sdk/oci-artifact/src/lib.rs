//! WebAssembly components in OCI registries, in the CNCF's layout: pulled and pushed under bounds.
//!
//! Blocking. Knows HTTP and JSON, and nothing of policies, tokio or the proxy. Its way out, an agent that speaks TLS,
//! is lent to the command line's client too.

mod agent;
mod challenge;
mod error;
mod manifest;
mod pull;
mod push;
mod reference;
mod registry;

pub use agent::{AgentSettings, agent};
pub use error::OciError;
pub use manifest::SIGNATURE_ANNOTATION;
pub use pull::{Pulled, pull};
pub use push::{Artifact, Pushed, push};
pub use reference::Reference;
pub use registry::{Access, Login};
