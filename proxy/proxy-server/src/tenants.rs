//! Who may use the data port, as it changes while the proxy runs: the tenants, their keys, what they have used.

mod account;
mod change;
mod ledger;
mod register;
mod token;
mod token_keys;

pub(crate) use account::{Account, Reserved, Spent, Use, Wants, Why};
pub use change::NewKey;
pub(crate) use change::{ChangeError, Rules};
pub(crate) use ledger::Ledger;
pub(crate) use register::{Register, keep, keep_token_keys};
pub(crate) use token::{Algorithm, BadToken, TokenRules, Tokens};
pub(crate) use token_keys::KeySource;
