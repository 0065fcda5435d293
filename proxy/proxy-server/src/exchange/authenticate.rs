//! Says who asks: whose key the request carries.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

use crate::config::{Tenant, Tenants};
use crate::exchange::Refusal;

/// Where Anthropic's clients put the key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The tenant whose key it is. Where no tenants are configured everybody is the same one, and a client's key is the
/// replica's to judge.
pub(crate) fn authenticate(tenants: &Tenants, headers: &HeaderMap) -> Result<Tenant, Refusal> {
    if !tenants.are_configured() {
        return Ok(Tenants::anonymous());
    }
    let key = key_of(headers).ok_or(Refusal::NoKey)?;
    tenants.of_key(key).cloned().ok_or(Refusal::UnknownKey)
}

/// Takes out the key that was judged here: replicas have no use for it, and must not learn it.
pub(crate) fn forget_key(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    headers.remove(API_KEY);
}

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
