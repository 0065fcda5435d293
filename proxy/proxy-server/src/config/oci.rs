//! How registries are asked for policies: `[oci]`, as the operator typed it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oci_artifact::{Access, Login, Reference};
use serde::Deserialize;

use super::Secret;
use super::file::{Environment, Wrong, token_from, wrong};

/// `[oci]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OciFile {
    #[serde(default)]
    insecure_registries: Vec<String>,
    #[serde(default, rename = "login")]
    logins: Vec<LoginFile>,
}

/// `[[oci.login]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginFile {
    registry: String,
    username: Option<String>,
    password_env: Option<String>,
    token_env: Option<String>,
}

/// How each registry may be asked. Credentials are one registry's own: no other gets to see them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Oci {
    plain_http: BTreeSet<String>,
    logins: BTreeMap<String, Login>,
    time_max: Duration,
}

impl OciFile {
    pub(super) fn check(self, pull_ms_max: u64, environment: Environment<'_>) -> Result<Oci, Wrong> {
        let OciFile { insecure_registries, logins: files } = self;
        for registry in &insecure_registries {
            check_registry("oci.insecure_registries", registry)?;
        }
        let mut logins = BTreeMap::new();
        for LoginFile { registry, username, password_env, token_env } in files {
            check_registry("oci.login.registry", &registry)?;
            let login = match (username, password_env, token_env) {
                (Some(user), Some(name), None) => {
                    let Secret(password) = token_from(&name, "oci.login.password_env", environment)?;
                    Login::Password { user, password }
                }
                (None, None, Some(name)) => {
                    let Secret(token) = token_from(&name, "oci.login.token_env", environment)?;
                    Login::Token(token)
                }
                _ => {
                    let message = format!("of {registry:?} needs `username` and `password_env`, or `token_env` alone");
                    return wrong("oci.login", message);
                }
            };
            if logins.insert(registry.clone(), login).is_some() {
                return wrong("oci.login.registry", format!("{registry:?} is used twice; keep one login of it"));
            }
        }
        let plain_http = insecure_registries.into_iter().collect();
        Ok(Oci { plain_http, logins, time_max: Duration::from_millis(pull_ms_max) })
    }
}

/// Host and port, as a reference begins.
fn check_registry(key: &str, registry: &str) -> Result<(), Wrong> {
    match format!("{registry}/policy:1").parse::<Reference>() {
        Ok(reference) if reference.registry() == registry => Ok(()),
        _ => wrong(key, format!("names {registry:?}; write a registry as references do: registry.example:5000")),
    }
}

impl Oci {
    /// How the registry of a reference may be asked.
    pub fn access(&self, reference: &Reference) -> Access {
        let registry = reference.registry();
        Access {
            login: self.logins.get(registry).cloned().unwrap_or(Login::Anonymous),
            plain_http: self.plain_http.contains(registry),
            time_max: self.time_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn checked(text: &str) -> Result<Oci, String> {
        let file: OciFile = toml::from_str(text).unwrap();
        let environment = |name: &str| (name == "SET").then(|| "secret".to_owned());
        file.check(1000, &environment).map_err(|Wrong { key, message }| format!("{key} {message}"))
    }

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let said = checked(text).unwrap_err();
        assert!(said.contains(says), "{said}");
    }

    #[test]
    fn credentials_and_plain_http_are_for_the_registry_that_they_name() {
        let oci = checked(
            "insecure_registries = [\"lan:5000\"]\n\
             [[login]]\nregistry = \"a.example\"\nusername = \"robot\"\npassword_env = \"SET\"\n\
             [[login]]\nregistry = \"b.example:444\"\ntoken_env = \"SET\"\n",
        )
        .unwrap();
        let access = |given: &str| oci.access(&given.parse().unwrap());
        let (user, password) = ("robot".to_owned(), "secret".to_owned());
        assert_eq!(access("a.example/p:1").login, Login::Password { user, password });
        assert_eq!(access("b.example:444/p:1").login, Login::Token("secret".to_owned()));
        assert_eq!(access("b.example/p:1").login, Login::Anonymous);
        assert!(access("lan:5000/p:1").plain_http);
        assert!(!access("lan.example:5000/p:1").plain_http);
        assert!(!format!("{oci:?}").contains("secret"));
    }

    #[test]
    fn half_a_login_is_refused() {
        refused("[[login]]\nregistry = \"a.example\"\nusername = \"robot\"", "password_env");
        refused("[[login]]\nregistry = \"a.example\"\npassword_env = \"SET\"", "username");
        refused("[[login]]\nregistry = \"a.example\"\ntoken_env = \"UNSET\"", "UNSET");
        refused("[[login]]\nregistry = \"a.example/team\"\ntoken_env = \"SET\"", "a.example/team");
        refused("insecure_registries = [\"http://lan\"]", "http://lan");
        let twice = "[[login]]\nregistry = \"a.example\"\ntoken_env = \"SET\"\n".repeat(2);
        refused(&twice, "twice");
    }
}
