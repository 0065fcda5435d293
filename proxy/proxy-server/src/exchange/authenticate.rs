//! Says who asks: whose key or token the request carries.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

use crate::config::Tenant;
use crate::exchange::Refusal;
use crate::tenants::{Register, Tokens};

/// Where Anthropic's clients put the key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The tenant whose key or token it is. Where neither is configured everybody is the same one, and a client's key is
/// the replica's to judge.
pub(crate) fn authenticate(register: &Register, headers: &HeaderMap, now_unix_ms: u64) -> Result<Tenant, Refusal> {
    if !register.are_configured() {
        return Ok(Tenant::anonymous());
    }
    let given = key_of(headers).ok_or(Refusal::NoKey)?;
    let tenants = register.now();
    match &register.tokens {
        Some(tokens) if Tokens::is_one(given) => {
            let name = tokens.tenant(given, now_unix_ms / 1000).map_err(Refusal::BadToken)?;
            match tenants.named(&name) {
                Some(tenant) => Ok(tenant.clone()),
                None if tokens.rules.any_tenant => Ok(Tenant::plain(&name)),
                None => Err(Refusal::UnknownKey),
            }
        }
        _ => tenants.of_key(given).cloned().ok_or(Refusal::UnknownKey),
    }
}

/// Where tenants' keys are judged here: replicas have no use for them, and must not learn them.
pub(crate) static KEYS: [HeaderName; 2] = [AUTHORIZATION, API_KEY];

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let bearer = text(AUTHORIZATION).and_then(|value| value.split_once(' '));
    let bearer = bearer.and_then(|(scheme, key)| scheme.eq_ignore_ascii_case("bearer").then_some(key));
    bearer.or_else(|| text(API_KEY)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &'static str, value: &str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(header, value.parse().unwrap());
        assert_eq!(key_of(&headers), expected);
    }

    #[test]
    fn the_key_stands_where_openais_and_anthropics_clients_put_it() {
        check("authorization", "Bearer abc", Some("abc"));
        check("authorization", "bearer  abc ", Some("abc"));
        check("x-api-key", "abc", Some("abc"));
        check("authorization", "Basic abc", None);
        check("authorization", "abc", None);
        check("x-other", "abc", None);
    }
}
