//! Reads the few wanted numbers out of a server's `/metrics`, and steps over all else.
//!
//! The text is another program's, and may be anything: what does not parse is not there, and nothing is kept that was
//! not asked for.

/// One sample whose name is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    /// The place of its name among the wanted.
    pub wanted: usize,
    /// What stands between the braces; empty where there are none.
    labels: &'a str,
    pub value: f64,
}

/// Each sample of these names, in the text's order.
pub(super) fn samples<'a>(text: &'a str, wanted: &'a [&'a str]) -> impl Iterator<Item = Sample<'a>> {
    text.lines().filter_map(|line| sample(line, wanted))
}

fn sample<'a>(line: &'a str, wanted: &[&str]) -> Option<Sample<'a>> {
    let line = line.trim_start();
    let name_ends = line.find(['{', ' ', '\t'])?;
    let name = &line[..name_ends];
    let wanted = wanted.iter().position(|wanted| *wanted == name)?;
    let rest = &line[name_ends..];
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => inside.split_at(labels_end(inside)?),
        None => ("", rest),
    };
    // Behind the value there may be a time.
    let value = rest.strip_prefix('}').unwrap_or(rest).split_ascii_whitespace().next()?;
    Some(Sample { wanted, labels, value: value.parse().ok()? })
}

/// Where the closing brace is: the first that is in no quoted value.
fn labels_end(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'}' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

impl<'a> Sample<'a> {
    /// A label's value as it is written, escapes and all.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        loop {
            let (key, after) = rest.split_once("=\"")?;
            let end = value_end(after)?;
            if key.trim_start_matches([',', ' ']) == name {
                return Some(&after[..end]);
            }
            rest = &after[end + 1..];
        }
    }
}

fn value_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: &[&str] = &["a:running", "b"];

    #[track_caller]
    fn check(text: &str, expected: &[(usize, f64)]) {
        let found: Vec<(usize, f64)> = samples(text, WANTED).map(|sample| (sample.wanted, sample.value)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn only_the_wanted_is_read() {
        check("# HELP b what\n# TYPE b gauge\nb 3\nbb 4\nb_total 5\na:running{x=\"y\"} 2.0\n", &[(1, 3.0), (0, 2.0)]);
        check("b{model=\"a}b\\\"} 9\",engine=\"0\"} 1e3 1700000000000\r\n", &[(1, 1000.0)]);
        check("b\t7", &[(1, 7.0)]);
        check("b +Inf", &[(1, f64::INFINITY)]);
    }

    #[test]
    fn what_does_not_parse_is_not_there() {
        for text in ["b", "b ", "b x", "b{", "b{x=\"", "b{x=\"y\"", "{b} 1", " # b 1", "b{x=\"y\"}"] {
            check(text, &[]);
        }
    }

    #[test]
    fn a_label_is_found_by_its_whole_name() {
        let text = "b{block_size=\"16\", num_gpu_blocks=\"27\",odd=\"a\\\"b,num=\\\"\",num=\"3\"} 1";
        let sample = samples(text, WANTED).next().unwrap();
        assert_eq!(sample.label("num_gpu_blocks"), Some("27"));
        assert_eq!(sample.label("num"), Some("3"));
        assert_eq!(sample.label("gpu_blocks"), None);
    }

    proptest! {
        #[test]
        fn nothing_that_it_is_given_breaks_it(text in "(\\PC|\n|\"|\\{|\\}|\\\\|b|=|,| ){0,200}") {
            for sample in samples(&text, WANTED) {
                let _ = sample.label("x");
            }
        }

        #[test]
        fn what_is_written_is_read(value in -1e12..1e12f64, label in "[^\"\\\\\n\r]{0,20}", noise in "[a-z_]{1,9} [0-9]{1,4}") {
            let text = format!("{noise}\na:running{{engine=\"0\",name=\"{label}\"}} {value}\n{noise}\n");
            let found: Vec<Sample<'_>> = samples(&text, &["a:running"]).collect();
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].value, value);
            prop_assert_eq!(found[0].label("name"), Some(label.as_str()));
        }
    }
}
