//! A name, or a part of one with `*` for the rest.

/// Text in which `*` stands for any run of characters, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    is_plain: bool,
}

impl Pattern {
    /// Any text is a pattern.
    pub fn of(text: String) -> Pattern {
        Pattern { is_plain: !text.contains('*'), text }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it fits the whole of a name.
    pub fn fits(&self, name: &str) -> bool {
        if self.is_plain {
            return self.text == name;
        }
        let (first, rest) = self.text.split_once('*').expect("a pattern that is not plain has a star");
        let Some(mut name) = name.strip_prefix(first) else { return false };
        // Each part between two stars at the first place it fits; what follows the last star at the end.
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return name.ends_with(part);
            }
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
        let pattern = Pattern::of(pattern.to_owned());
        for name in fitting {
            assert!(pattern.fits(name), "{name}");
        }
        for name in others {
            assert!(!pattern.fits(name), "{name}");
        }
    }

    #[test]
    fn a_star_stands_for_any_run() {
        check("*", &["", "a", "a*b"], &[]);
        check("acme", &["acme"], &["", "acme2", "Acme"]);
        check("acme-*", &["acme-", "acme-1"], &["acme", "x-acme-1"]);
        check("*-large", &["llama-large", "-large"], &["llama-large-2"]);
        check("a*b*c", &["abc", "a1b2c", "abbcc", "abcbc"], &["ab", "ac", "bc", "abcd"]);
        check("a*a", &["aa", "aba"], &["a"]);
        check("**", &["", "x"], &[]);
    }
}
