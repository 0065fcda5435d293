//! How a proxy's slots look on a terminal: one row for each version.

use serde_json::Value;

/// The table's columns.
const HEAD: [&str; 10] =
    ["SLOT", "VERSION", "STATE", "POLICY", "HOOKS", "SIGNED BY", "SOURCE", "DECISIONS", "FAULTS", "MEMORY"];

/// Prints a slot after a change: which versions take requests now.
pub(crate) fn slot(changed: &Value, as_json: bool) {
    match as_json {
        true => println!("{changed:#}"),
        false => print!("{}", in_use(changed)),
    }
}

fn in_use(slot: &Value) -> String {
    let mut lines = String::new();
    for version in list(&slot["versions"]) {
        let state = word(&version["state"]);
        let share = match state.as_str() {
            "active" => "is active".to_owned(),
            "canary" => format!("is the canary, with {} % of the requests", word(&slot["canary"]["percent"])),
            _ => continue,
        };
        let by = version["signed_by"].as_str().map(|name| format!(", signed by {name}")).unwrap_or_default();
        lines.push_str(&format!(
            "{}: version {} {share}: {} {}, {}{by}\n",
            word(&slot["slot"]),
            word(&version["number"]),
            word(&version["name"]),
            word(&version["version"]),
            word(&version["digest"]),
        ));
    }
    lines
}

/// Every slot with its versions, then what answers when all policies passed.
pub(crate) fn policies(policies: &Value) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for slot in list(&policies["chain"]) {
        for (index, version) in list(&slot["versions"]).iter().enumerate() {
            let name = if index == 0 { word(&slot["slot"]) } else { String::new() };
            rows.push(row(name, slot, version));
        }
    }
    let mut text = if rows.len() == 1 { "no policies are loaded\n".to_owned() } else { table(&rows) };
    text.push_str(&format!("fallback: {}\n", word(&policies["fallback"])));
    text
}

fn row(name: String, slot: &Value, version: &Value) -> [String; 10] {
    let state = match version["state"].as_str() {
        Some("canary") => format!("canary {} %", word(&slot["canary"]["percent"])),
        _ => word(&version["state"]),
    };
    let hooks: Vec<String> = list(&version["hooks"]).iter().map(word).collect();
    [
        name,
        word(&version["number"]),
        state,
        format!("{} {}", word(&version["name"]), word(&version["version"])),
        hooks.join(","),
        version["signed_by"].as_str().unwrap_or("-").to_owned(),
        word(&version["source"]),
        word(&version["decisions_total"]),
        word(&version["faults_total"]),
        version["memory_bytes"].as_u64().map_or_else(|| word(&Value::Null), mebibytes),
    ]
}

/// Of its instances, all together.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// Rows as columns that line up; the first row is the head.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A word or number; what the proxy does not tell, being older, is a dash.
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "chain": [
                { "slot": "limits", "versions": [
                    { "number": 1, "state": "active", "name": "rate-limit", "version": "0.1.0", "digest": "sha256:00",
                      "hooks": ["configure", "admit", "observe"], "signed_by": "alice", "source": "oci",
                      "decisions_total": 1200, "faults_total": 0, "memory_bytes": 4_587_520 } ] },
                { "slot": "placement", "canary": { "version": 3, "percent": 10 }, "versions": [
                    { "number": 3, "state": "canary", "name": "least-load", "version": "0.2.0", "digest": "sha256:03",
                      "hooks": ["place"], "signed_by": null, "source": "admin", "decisions_total": 7, "faults_total": 1 },
                    { "number": 2, "state": "active", "name": "least-load", "version": "0.1.0", "digest": "sha256:02",
                      "hooks": ["place"], "signed_by": "bob", "source": "file", "decisions_total": 63, "faults_total": 0 } ] } ],
            "fallback": "native-least-load"
        })
    }

    #[test]
    fn slots_are_a_table() {
        insta::assert_snapshot!(policies(&sample()));
    }

    #[test]
    fn no_slots_are_a_sentence() {
        insta::assert_snapshot!(policies(&json!({ "chain": [], "fallback": "native-least-load" })));
    }

    #[test]
    fn a_change_says_what_takes_requests_now() {
        insta::assert_snapshot!(in_use(&sample()["chain"][1]));
    }

    #[test]
    fn what_an_older_proxy_does_not_tell_is_a_dash() {
        insta::assert_snapshot!(policies(&json!({ "chain": [{ "slot": "a", "versions": [{ "number": 1 }] }] })));
    }
}
