//! Who may use the admin port: `[admin]`, its one token or several, each with what it may do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::file::{Environment, Wrong, check_name, token_from, wrong};
use super::tenants::digest_of;
use crate::config::Secret;

/// Tokens of one proxy.
const TOKENS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminFile {
    pub listen: SocketAddr,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    register_token_env: Option<String>,
    #[serde(default, rename = "token")]
    tokens: Vec<TokenFile>,
}

/// `[[admin.token]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    name: String,
    sha256: String,
    role: Role,
}

/// What a token of the admin port may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Look.
    Read,
    /// Look, and change what there is.
    Operate,
}

/// A token of the admin port, by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminToken {
    pub name: String,
    pub sha256: [u8; 32],
    pub role: Role,
}

impl AdminFile {
    pub(super) fn register_token(&self, environment: Environment<'_>) -> Result<Option<Secret>, Wrong> {
        let name = self.register_token_env.as_ref();
        name.map(|name| token_from(name, "admin.register_token_env", environment)).transpose()
    }

    pub(super) fn check(self, folder: &Path, environment: Environment<'_>) -> Result<Vec<AdminToken>, Wrong> {
        let AdminFile { listen, token_env, token_file, register_token_env: _, tokens } = self;
        let one = match (token_env, token_file) {
            (Some(_), Some(_)) => return wrong("admin.token_file", "and `admin.token_env` are both set; keep one"),
            (Some(name), None) => Some(token_from(&name, "admin.token_env", environment)?.0),
            (None, Some(file)) => Some(token_in(&folder.join(file))?),
            (None, None) => None,
        };
        let one = one.map(|token| AdminToken {
            name: "admin".to_owned(),
            sha256: Sha256::digest(token).into(),
            role: Role::Operate,
        });
        let several = tokens.into_iter().map(TokenFile::check);
        let all: Vec<AdminToken> = one.into_iter().map(Ok).chain(several).collect::<Result<_, _>>()?;
        if all.len() > TOKENS_MAX {
            return wrong("admin.token", format!("there are more than {TOKENS_MAX} tokens"));
        }
        match all.is_empty() && !listen.ip().is_loopback() {
            false => Ok(all),
            true => wrong(
                "admin.listen",
                format!(
                    "is {listen}, which other machines can reach: set `admin.token_env` to the name of an environment \
                     variable that holds a token (or `admin.token_file`, or [[admin.token]]s), or listen on 127.0.0.1"
                ),
            ),
        }
    }
}

impl TokenFile {
    fn check(self) -> Result<AdminToken, Wrong> {
        let TokenFile { name, sha256, role } = self;
        check_name("admin.token.name", &name)?;
        match digest_of(&sha256) {
            Some(sha256) => Ok(AdminToken { name, sha256, role }),
            None => wrong(
                "admin.token.sha256",
                format!("of {name:?} is not 64 hex digits; `headworks key new` prints a token and its digest"),
            ),
        }
    }
}

fn token_in(path: &Path) -> Result<String, Wrong> {
    match std::fs::read_to_string(path) {
        Ok(token) if !token.trim().is_empty() => Ok(token.trim().to_owned()),
        Ok(_) => wrong("admin.token_file", format!("names {}, which is empty", path.display())),
        Err(error) => wrong("admin.token_file", format!("names {}, which cannot be read: {error}", path.display())),
    }
}
