//! Leaves out of an error what a secret's line says: errors are logged, and shown at the admin port.

/// A key with one of these in its name holds a secret, or is meant to.
const WORDS: [&str; 5] = ["token", "password", "secret", "api_key", "authorization"];

/// The message of a TOML error, which shows the line that is wrong.
pub(super) fn left_out(message: &str) -> String {
    let mut has_secret = false;
    let lines: Vec<String> = message
        .lines()
        .map(|line| match secret_from(line) {
            None => line.to_owned(),
            Some(at) => {
                has_secret = true;
                format!("{} …", &line[..at])
            }
        })
        .collect();
    let lines = lines.join("\n");
    // What was found instead of what was expected is the secret too.
    if has_secret { without_texts(&lines) } else { lines }
}

/// Where the value behind a secret's key begins, in a line that is shown.
fn secret_from(line: &str) -> Option<usize> {
    let (number, _) = line.split_once(" | ")?;
    number.trim().parse::<u32>().ok()?;
    let lower = line.to_ascii_lowercase();
    let word = WORDS.iter().filter_map(|word| lower.find(word)).min()?;
    Some(word + line[word..].find('=')? + 1)
}

fn without_texts(message: &str) -> String {
    let mut parts = message.split("string \"");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once('"').map_or("", |(_, rest)| rest);
        text.push_str("string \"…\"");
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[track_caller]
    fn check(line: &str, shown: &str) {
        let text = format!("listen = \"127.0.0.1:0\"\n{line}\n");
        let error = Config::parse(&text, Path::new("test.toml")).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains(shown), "{line}: {error}");
    }

    #[test]
    fn no_error_shows_a_secret() {
        check("admin.token = \"hunter2\"", "2 | admin.token = …");
        check(
            "admin = { listen = \"127.0.0.1:0\", password = \"hunter2\" }",
            "2 | admin = { listen = \"127.0.0.1:0\", password = …",
        );
        check("[[oci.login]]\nregistry = \"r\"\npassword = \"hunter2\"", "4 | password = …");
        check("[[oci.login]]\nregistry = \"r\"\npassword_env = 3\nToken = \"hunter2", "…");
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        let text = "listen = \"127.0.0.1:0\"\nwieght = \"heavy\"\n";
        let error = Config::parse(text, Path::new("test.toml")).unwrap_err().to_string();
        assert!(error.contains("2 | wieght = \"heavy\""), "{error}");
    }
}
