//! Who may use the data port, as it changes while the proxy runs: the tenants, their keys, what they have used.

mod change;
mod ledger;
mod register;
mod token;
mod token_keys;

pub use change::NewKey;
pub(crate) use change::{ChangeError, Rules};
pub(crate) use ledger::{Account, Ledger, Spent, Use};
pub(crate) use register::{Register, keep};
pub(crate) use token::{Algorithm, BadToken, TokenRules, Tokens};
pub(crate) use token_keys::KeySource;
