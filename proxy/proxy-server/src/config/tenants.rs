//! Who may use the data port: tenants by the SHA-256 of their keys, as the operator typed them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::file::{Wrong, check_name, wrong};

/// The tenant of a request where no tenants are configured.
const ANONYMOUS: &str = "anonymous";

/// `[[tenant]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantFile {
    name: String,
    key_sha256: Vec<String>,
    #[serde(default)]
    priority: u32,
}

/// Who a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub name: Arc<str>,
    /// 0 is ordinary, higher is more urgent.
    pub priority: u32,
}

/// The tenants by their keys' digests. Without any, everybody is the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tenants {
    by_key: HashMap<[u8; 32], Tenant>,
}

impl Tenants {
    pub(super) fn of(files: Vec<TenantFile>) -> Result<Tenants, Wrong> {
        let (mut names, mut by_key) = (BTreeSet::new(), HashMap::new());
        for TenantFile { name, key_sha256, priority } in files {
            check_name("tenant.name", &name)?;
            if name == ANONYMOUS || !names.insert(name.clone()) {
                return wrong("tenant.name", format!("{name:?} is used twice; every tenant needs a name of its own"));
            }
            if key_sha256.is_empty() {
                return wrong("tenant.key_sha256", format!("of {name:?} is empty; nobody could be this tenant"));
            }
            let tenant = Tenant { name: name.as_str().into(), priority };
            for key in key_sha256 {
                let Some(digest) = digest_of(&key) else {
                    let message = format!(
                        "of {name:?} has a value that is not 64 hex digits; `printf %s KEY | sha256sum` prints a key's"
                    );
                    return wrong("tenant.key_sha256", message);
                };
                if by_key.insert(digest, tenant.clone()).is_some() {
                    return wrong("tenant.key_sha256", format!("of {name:?} has a key that is there already"));
                }
            }
        }
        Ok(Tenants { by_key })
    }

    /// Whether clients need a key.
    pub fn are_configured(&self) -> bool {
        !self.by_key.is_empty()
    }

    /// Everybody, where no tenants are configured.
    pub fn anonymous() -> Tenant {
        Tenant { name: ANONYMOUS.into(), priority: 0 }
    }

    /// Whose key it is. Looked up by digest, so that the time it takes says nothing of the keys there are.
    pub fn of_key(&self, key: &str) -> Option<&Tenant> {
        self.by_key.get::<[u8; 32]>(&Sha256::digest(key).into())
    }
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let hex = hex.strip_prefix("sha256:").unwrap_or(hex);
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the key `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[track_caller]
    fn check(lines: &str, key: &str, expected: Result<Option<&str>, &str>) {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            tenant: Vec<TenantFile>,
        }
        let File { tenant } = toml::from_str(lines).unwrap();
        let found = Tenants::of(tenant).map(|tenants| tenants.of_key(key).map(|tenant| tenant.name.to_string()));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected),
            (Err(wrong), Err(part)) => assert!(wrong.message.contains(part), "{}", wrong.message),
            (Ok(_), Err(part)) => panic!("not refused: {part}"),
            (Err(wrong), Ok(_)) => panic!("{}", wrong.message),
        }
    }

    #[test]
    fn a_key_names_its_tenant() {
        let lines = format!("[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]");
        check(&lines, "secret", Ok(Some("acme")));
        check(&lines, "Secret", Ok(None));
        check(&lines, "", Ok(None));
    }

    #[test]
    fn a_digest_may_say_its_kind() {
        check(&format!("[[tenant]]\nname = \"a\"\nkey_sha256 = [\"sha256:{SECRET}\"]"), "secret", Ok(Some("a")));
    }

    #[test]
    fn what_cannot_name_a_tenant_is_refused() {
        check("[[tenant]]\nname = \"a\"\nkey_sha256 = []", "", Err("nobody could be"));
        check("[[tenant]]\nname = \"a\"\nkey_sha256 = [\"secret\"]", "", Err("64 hex digits"));
        check("[[tenant]]\nname = \"anonymous\"\nkey_sha256 = []", "", Err("used twice"));
        let twice = format!("[[tenant]]\nname = \"a\"\nkey_sha256 = [\"{SECRET}\", \"{SECRET}\"]");
        check(&twice, "", Err("there already"));
    }
}
