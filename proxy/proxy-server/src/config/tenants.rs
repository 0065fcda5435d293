//! Who may use the data port: tenants by the SHA-256 of their keys, as the operator typed them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch::Pattern;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::file::{Wrong, check_name, wrong};
use crate::tenants::{Account, Ledger, TokenRules};

/// The tenant of a request where no tenants are configured.
pub(crate) const ANONYMOUS: &str = "anonymous";
/// Tenants of one proxy.
const TENANTS_MAX: usize = 10_000;
/// Keys of one tenant: some in use, some that are being replaced.
const KEYS_MAX: usize = 64;
/// Hex digits of a key's digest that name the key.
const ID_DIGITS: usize = 12;

/// `[[tenant]]`, in the configuration and in the tenants' file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantFile {
    pub name: String,
    #[serde(default)]
    pub key_sha256: Vec<String>,
    #[serde(default)]
    pub priority: u32,
    /// The models that it may ask for; `*` is any text; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(default, skip_serializing_if = "Allowance::is_boundless")]
    pub budget: Allowance,
}

/// `[tenants]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantsFile {
    file: Option<PathBuf>,
    used_file: Option<PathBuf>,
    #[serde(default)]
    open: bool,
}

/// Where the proxy's tenants are from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenancy {
    /// In the configuration itself.
    pub own: Vec<TenantFile>,
    /// Further ones, which may change at any time.
    pub file: Option<PathBuf>,
    /// What they have used.
    pub used_file: Option<PathBuf>,
    /// Whose tokens count, beside keys.
    pub tokens: Option<TokenRules>,
    /// The operator means it that everybody may ask without a key.
    pub is_meant_open: bool,
}

impl TenantsFile {
    /// Where no file says what was used, it is kept beside the tenants' own.
    pub(super) fn check(
        self,
        own: Vec<TenantFile>,
        tokens: Option<TokenRules>,
        folder: &Path,
    ) -> Result<Tenancy, Wrong> {
        let TenantsFile { file, used_file, open } = self;
        if open && (!own.is_empty() || file.is_some() || tokens.is_some()) {
            let message = "is true, and so everybody could ask without a key; but there are [[tenant]]s, `tenants.file` or \
                           [jwt], with which nobody can; leave one of them out";
            return wrong("tenants.open", message);
        }
        Tenants::of(&own, &Ledger::default())?;
        if let Some(keyless) = own.iter().find(|tenant| tenant.key_sha256.is_empty() && tokens.is_none()) {
            let message = format!("of {:?} is empty; nobody could be this tenant", keyless.name);
            return wrong("tenant.key_sha256", message);
        }
        let file = file.map(|file| folder.join(file));
        let beside = || file.as_ref().map(|file| file.with_extension("used.json"));
        let used_file = used_file.map(|used| folder.join(used)).or_else(beside);
        if used_file.is_some() && used_file == file {
            return wrong("tenants.used_file", "is the tenants' own file; name another");
        }
        Ok(Tenancy { own, file, used_file, tokens, is_meant_open: open })
    }
}

/// What a tenant may use; nothing said is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowance {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_total: Option<u64>,
}

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub name: Arc<str>,
    /// 0 is ordinary, higher is more urgent.
    pub priority: u32,
    models: Arc<[Pattern]>,
    pub budget: Allowance,
    /// What it has used.
    pub account: Arc<Account>,
}

/// The tenants by their keys' digests, and by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenants {
    by_key: HashMap<[u8; 32], Tenant>,
    by_name: BTreeMap<Arc<str>, Tenant>,
}

impl Tenants {
    /// Checks what was typed. Tenants that were there before go on with their accounts.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a TenantFile>, ledger: &Ledger) -> Result<Tenants, Wrong> {
        let (mut by_key, mut by_name) = (HashMap::new(), BTreeMap::new());
        for file in files {
            let tenant = file.check(ledger)?;
            let name = &file.name;
            for key in &file.key_sha256 {
                let Some(digest) = digest_of(key) else {
                    let message = format!(
                        "of {name:?} has a value that is not 64 hex digits; `headworks key new` prints a key and its digest"
                    );
                    return wrong("tenant.key_sha256", message);
                };
                if by_key.insert(digest, tenant.clone()).is_some() {
                    return wrong("tenant.key_sha256", format!("of {name:?} has a key that is there already"));
                }
            }
            if name == ANONYMOUS || by_name.insert(tenant.name.clone(), tenant).is_some() {
                return wrong("tenant.name", format!("{name:?} is used twice; every tenant needs a name of its own"));
            }
            if by_name.len() > TENANTS_MAX {
                return wrong("tenant", format!("there are more than {TENANTS_MAX} tenants"));
            }
        }
        Ok(Tenants { by_key, by_name })
    }

    /// Whose key it is. Looked up by digest, so that the time it takes says nothing of the keys there are.
    pub fn of_key(&self, key: &str) -> Option<&Tenant> {
        self.by_key.get::<[u8; 32]>(&Sha256::digest(key).into())
    }

    /// The tenant of this name.
    pub fn named(&self, name: &str) -> Option<&Tenant> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Tenant> {
        self.by_name.values()
    }
}

impl TenantFile {
    fn check(&self, ledger: &Ledger) -> Result<Tenant, Wrong> {
        let TenantFile { name, key_sha256, priority, models, budget } = self;
        check_name("tenant.name", name)?;
        if key_sha256.len() > KEYS_MAX {
            return wrong("tenant.key_sha256", format!("of {name:?} has more than {KEYS_MAX} keys; revoke old ones"));
        }
        Ok(Tenant {
            name: name.as_str().into(),
            priority: *priority,
            models: models.iter().map(Pattern::new).collect(),
            budget: *budget,
            account: ledger.account(name),
        })
    }
}

impl Allowance {
    fn is_boundless(&self) -> bool {
        *self == Allowance::default()
    }
}

impl Tenant {
    /// Everybody, where no tenants are configured.
    pub fn anonymous() -> Tenant {
        Tenant::plain(ANONYMOUS)
    }

    /// One of whom nothing but the name is known.
    pub fn plain(name: &str) -> Tenant {
        Tenant {
            name: name.into(),
            priority: 0,
            models: Arc::default(),
            budget: Allowance::default(),
            account: Arc::default(),
        }
    }

    /// Whether it may ask for this model.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }
}

/// What names a key without telling it: the beginning of its digest.
pub(crate) fn key_id(key_sha256: &str) -> String {
    digest_of(key_sha256).map_or_else(String::new, |digest| hex(&digest)[..ID_DIGITS].to_owned())
}

/// Digits in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to memory cannot fail");
        text
    })
}

/// 64 hex digits, which may say their kind.
pub(super) fn digest_of(hex: &str) -> Option<[u8; 32]> {
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
        let found = Tenants::of(&tenant, &Ledger::default())
            .map(|tenants| tenants.of_key(key).map(|tenant| tenant.name.to_string()));
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
        check("[[tenant]]\nname = \"a\"\nkey_sha256 = [\"secret\"]", "", Err("64 hex digits"));
        check("[[tenant]]\nname = \"anonymous\"\nkey_sha256 = []", "", Err("used twice"));
        let twice = format!("[[tenant]]\nname = \"a\"\nkey_sha256 = [\"{SECRET}\", \"{SECRET}\"]");
        check(&twice, "", Err("there already"));
    }

    #[test]
    fn a_tenant_without_models_may_use_all_and_another_only_its_own() {
        let file = |models: &[&str]| TenantFile {
            name: "a".to_owned(),
            key_sha256: Vec::new(),
            priority: 0,
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            budget: Allowance::default(),
        };
        let may = |models: &[&str], model: &str| file(models).check(&Ledger::default()).ok().unwrap().may_use(model);
        assert!(may(&[], "tiny"));
        assert!(may(&["llama-*", "tiny"], "tiny") && may(&["llama-*"], "llama-3"));
        assert!(!may(&["llama-*"], "tiny"));
    }

    #[test]
    fn a_key_is_named_by_the_beginning_of_its_digest() {
        assert_eq!(key_id(SECRET), "2bb80d537b1d");
        assert_eq!(key_id(&format!("sha256:{}", SECRET.to_uppercase())), "2bb80d537b1d");
    }
}
