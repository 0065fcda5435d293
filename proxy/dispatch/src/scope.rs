//! Says which requests a place in the chain is about: by model, tenant and endpoint.

use policy_api::{Event, RequestFacts, Subject};

/// A name in which `*` stands for any text, also for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// What stands between the stars; one part where there is none.
    parts: Vec<String>,
}

/// Which requests policies are asked about. An empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The models asked for.
    pub models: Vec<Pattern>,
    /// Who asks.
    pub tenants: Vec<Pattern>,
    /// The paths asked for.
    pub endpoints: Vec<Pattern>,
    /// It is about those requests only whose chain names it: [`crate::Chain::only`].
    pub is_by_name: bool,
}

impl Pattern {
    /// Reads a pattern; any text is one.
    pub fn new(text: impl Into<String>) -> Pattern {
        let text = text.into();
        let parts = text.split('*').map(str::to_owned).collect();
        Pattern { text, parts }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `name` is such a name.
    pub fn matches(&self, name: &str) -> bool {
        let [first, between @ .., last] = &self.parts[..] else { return name == self.text };
        let inner = name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        let Some(mut rest) = inner else { return false };
        // The leftmost place of each part leaves the most room for those that follow.
        for part in between {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

impl Scope {
    /// Whether it is about every request.
    pub fn is_everything(&self) -> bool {
        let Scope { models, tenants, endpoints, is_by_name: _ } = self;
        models.is_empty() && tenants.is_empty() && endpoints.is_empty()
    }

    /// Whether it is about this request.
    pub fn includes(&self, facts: &RequestFacts) -> bool {
        self.is_everything() || self.includes_all(&facts.model, &facts.tenant, &facts.endpoint)
    }

    /// Whether it is about what this event tells of. Those of replicas are about every request.
    pub fn includes_event(&self, event: &Event) -> bool {
        match event {
            Event::Started { subject, .. }
            | Event::FirstToken { subject, .. }
            | Event::Failed { subject, .. }
            | Event::Ended { subject, .. } => self.includes_subject(subject),
            Event::ReplicaUp(_) | Event::ReplicaDown(_) => true,
        }
    }

    fn includes_subject(&self, subject: &Subject) -> bool {
        self.includes_all(&subject.model, &subject.tenant, &subject.endpoint)
    }

    fn includes_all(&self, model: &str, tenant: &str, endpoint: &str) -> bool {
        let Scope { models, tenants, endpoints, is_by_name: _ } = self;
        has(models, model) && has(tenants, tenant) && has(endpoints, endpoint)
    }
}

fn has(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = Pattern::new(pattern);
        for name in matching {
            assert!(pattern.matches(name), "{pattern:?} and {name:?}");
        }
        for name in others {
            assert!(!pattern.matches(name), "{pattern:?} and {name:?}");
        }
    }

    #[test]
    fn a_name_without_a_star_means_itself() {
        check("tiny", &["tiny"], &["tiny2", "atiny", "Tiny", ""]);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        check("llama-*", &["llama-", "llama-3-8b", "llama-*"], &["llama", "allama-3"]);
        check("*-8b", &["llama-3-8b", "-8b"], &["llama-3-8b-it"]);
        check("meta/*-8b*", &["meta/llama-8b", "meta/llama-8b-it"], &["meta/8b", "x/meta/llama-8b"]);
        check("*", &["", "anything"], &[]);
        check("a*a", &["aa", "aba"], &["a"]);
        check("a**b", &["ab", "axb"], &["a", "b"]);
    }

    /// The definition, slowly.
    fn slowly(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|at| slowly(rest, &name[at..])),
            ([first, rest @ ..], [found, others @ ..]) => first == found && slowly(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_is_defined_to(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            prop_assert_eq!(Pattern::new(&*pattern).matches(&name), slowly(&chars(&pattern), &chars(&name)));
        }
    }

    #[test]
    fn every_list_must_have_its_match_and_an_empty_one_is_no_condition() {
        let patterns = |words: &[&str]| words.iter().map(|word| Pattern::new(*word)).collect();
        let scope = Scope {
            models: patterns(&["llama-*", "tiny"]),
            tenants: patterns(&["acme"]),
            endpoints: vec![],
            is_by_name: false,
        };
        let facts = |model: &str, tenant: &str| RequestFacts {
            model: model.to_owned(),
            tenant: tenant.to_owned(),
            ..RequestFacts::default()
        };
        assert!(scope.includes(&facts("tiny", "acme")) && scope.includes(&facts("llama-3", "acme")));
        assert!(!scope.includes(&facts("tiny", "other")) && !scope.includes(&facts("gpt", "acme")));
        assert!(Scope::default().includes(&facts("", "")));
        let ended = |tenant: &str| Event::Started {
            subject: Subject { tenant: tenant.into(), model: "tiny".into(), ..Subject::default() },
            replica: policy_api::ReplicaId(0),
        };
        assert!(scope.includes_event(&ended("acme")) && !scope.includes_event(&ended("other")));
        assert!(scope.includes_event(&Event::ReplicaUp(policy_api::ReplicaId(0))));
    }
}
