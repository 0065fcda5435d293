//! The OpenAI wire format as types: requests, responses, stream frames, errors, and our replicas' `/state`. serde only.

mod error;
mod state;

pub use error::{ErrorBody, ErrorObject};
pub use state::ReplicaState;
