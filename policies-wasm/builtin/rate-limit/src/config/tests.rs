//! Which rule counts, what shares it, and which configurations are refused.

use super::*;

fn config(rules: &str) -> Config {
    Config::parse(&format!(r#"{{"rules":{rules}}}"#)).unwrap()
}

#[track_caller]
fn refused(json: &str, field: &str, part: &str) {
    let refusal = Config::parse(json).unwrap_err();
    assert_eq!(refusal.field, field);
    assert!(refusal.message.contains(part), "{}", refusal.message);
}

#[test]
fn the_first_rule_that_fits_counts() {
    let config = config(
        r#"[{"tenant":"acme","model":"large-*","concurrent":1},{"tenant":"acme","concurrent":2},{"model":"small","concurrent":3}]"#,
    );
    let found = |tenant, model| config.rule_for(tenant, model).and_then(|rule| rule.concurrent);
    assert_eq!(found("acme", "large-1"), Some(1));
    assert_eq!(found("acme", "small"), Some(2));
    assert_eq!(found("other", "small"), Some(3));
    assert_eq!(found("other", "large-1"), None);
}

#[test]
fn what_shares_a_rule_is_said_by_per() {
    let scope = |per: &str, tenant, model| {
        let rule = format!(r#"[{{"tenant":"a*","model":"m*","per":"{per}"}}]"#);
        config(&rule).rules[0].scope(tenant, model)
    };
    assert_eq!(scope("tenant-and-model", "acme", "m1"), "4:acme/m1");
    assert_eq!(scope("tenant", "acme", "m1"), "4:acme/m*");
    assert_eq!(scope("model", "acme", "m1"), "2:a*/m1");
    assert_eq!(scope("rule", "acme", "m1"), "2:a*/m*");
    assert_ne!(scope("tenant-and-model", "a/b", "c"), scope("tenant-and-model", "a", "b/c"));
}

#[test]
fn a_long_name_is_named_by_its_hash() {
    let long = "m".repeat(1000);
    let scope = config("[{}]").rules[0].scope("acme", &long);
    assert_eq!((scope.len(), scope.starts_with('#')), (17, true));
    assert_ne!(scope, config("[{}]").rules[0].scope("acne", &long));
}

#[test]
fn a_refusal_names_the_field() {
    refused(r#"{"rule":[]}"#, "rule", "unknown field");
    refused(r#"{"rules":[{},{"tenants":"a"}]}"#, "rules.1.tenants", "unknown field");
    refused(r#"{"rules":[{"requests_per_minute":"ten"}]}"#, "rules.0.requests_per_minute", "invalid type");
    refused(r#"{"rules":[{"requests_per_minute":-1}]}"#, "rules.0.requests_per_minute", "invalid value");
    refused(r#"{"rules":[{},{"concurrent":0}]}"#, "rules.1.concurrent", "at least 1");
    refused(r#"{"rules":[{"per":"user"}]}"#, "rules.0.per", "unknown variant");
    refused(r#"{"rules":[{"requests_burst":1}]}"#, "rules.0.requests_burst", "without");
    refused(r#"{"rules":[{"tokens_burst":1}]}"#, "rules.0.tokens_burst", "without");
    refused(r#"{"rules":[{"requests_per_second":2000000}]}"#, "rules.0.requests_per_second", "at most");
}

#[test]
fn rules_are_bounded() {
    let rules = vec!["{}"; RULES_MAX + 1].join(",");
    refused(&format!(r#"{{"rules":[{rules}]}}"#), "rules", "at most 1024");
}

#[test]
fn nothing_need_be_said() {
    assert_eq!(Config::parse("{}").unwrap(), Config::default());
    assert_eq!(Config::default().rule_for("a", "b"), None);
}

#[test]
fn the_schema_names_the_fields() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let rule = schema["properties"]["rules"]["items"]["properties"].as_object().unwrap();
    let filled: serde_json::Map<String, serde_json::Value> = rule
        .iter()
        .map(|(name, property)| {
            let value = match property["type"].as_str() {
                Some("integer") => serde_json::json!(1),
                Some(_) => serde_json::json!("*"),
                None => property["enum"][0].clone(),
            };
            (name.clone(), value)
        })
        .collect();
    assert_eq!(filled.len(), 9);
    let json = serde_json::json!({ "rules": [filled], "default_output_tokens": 7 });
    assert_eq!(schema["properties"].as_object().unwrap().len(), 2);
    assert_eq!(Config::parse(&json.to_string()).unwrap().rules.len(), 1);
}
