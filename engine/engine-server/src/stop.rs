//! Ends a text at the first stop string, and holds back what may become one.

/// The stop strings of one request, and the text whose fate is open.
#[derive(Debug, Default)]
pub(crate) struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// This much; the rest is held.
    Text(String),
    /// This much, and the output ends here.
    Stopped(String),
}

impl StopStrings {
    pub fn new(stops: Vec<String>) -> StopStrings {
        StopStrings { stops, held: String::new() }
    }

    /// Takes more text.
    pub fn push(&mut self, text: &str) -> Passed {
        if self.stops.is_empty() {
            return Passed::Text(text.to_owned());
        }
        self.held.push_str(text);
        if let Some(start) = self.first_match() {
            self.held.truncate(start);
            return Passed::Stopped(std::mem::take(&mut self.held));
        }
        let safe = self.held.len() - self.suffix_that_may_stop();
        let rest = self.held.split_off(safe);
        Passed::Text(std::mem::replace(&mut self.held, rest))
    }

    /// The output ended: nothing more can complete a stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the stop string begins that is complete first, so that the answer does not depend on how text arrives.
    fn first_match(&self) -> Option<usize> {
        let matches =
            self.stops.iter().filter_map(|stop| self.held.find(stop).map(|start| (start + stop.len(), start)));
        matches.min().map(|(_, start)| start)
    }

    fn suffix_that_may_stop(&self) -> usize {
        self.stops.iter().map(|stop| longest_overlap(&self.held, stop)).max().unwrap_or(0)
    }
}

/// The longest end of `text`, in bytes, that is a beginning of `stop`.
fn longest_overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|&len| stop.is_char_boundary(len) && text.ends_with(&stop[..len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is shown when a text arrives in these pieces.
    fn shown(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut strings = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut shown = String::new();
        for piece in pieces {
            match strings.push(piece) {
                Passed::Text(text) => shown += &text,
                Passed::Stopped(text) => return (shown + &text, true),
            }
        }
        (shown + &strings.finish(), false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_never_shown() {
        assert_eq!(shown(&["END"], &["one E", "N", "D two"]), ("one ".to_owned(), true));
    }

    #[test]
    fn what_only_began_like_a_stop_string_is_shown_later() {
        assert_eq!(shown(&["END"], &["one E", "N", "d"]), ("one ENd".to_owned(), false));
        assert_eq!(shown(&["END"], &["one EN"]), ("one EN".to_owned(), false));
    }

    #[test]
    fn text_that_cannot_begin_a_stop_string_is_not_held() {
        let mut strings = StopStrings::new(vec!["END".to_owned()]);
        assert_eq!(strings.push("one E"), Passed::Text("one ".to_owned()));
        assert_eq!(strings.push("x"), Passed::Text("Ex".to_owned()));
    }

    #[test]
    fn the_stop_string_that_is_complete_first_wins() {
        assert_eq!(shown(&["xaby", "ab"], &["1xaby"]), ("1x".to_owned(), true));
    }

    proptest! {
        /// However a text is cut, the same is shown, and a stop string never is.
        #[test]
        fn cutting_does_not_matter(
            text in "[abé]{0,24}",
            stops in proptest::collection::vec("[abé]{1,4}", 0..3),
            cuts in proptest::collection::vec(0_usize..24, 0..8),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| text.is_char_boundary(*at)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let (cut, stopped) = shown(&stops, &pieces);
            prop_assert_eq!((cut.clone(), stopped), shown(&stops, &[&text]));
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop)));
            prop_assert!(stopped || cut == text);
            prop_assert!(text.starts_with(&cut));
        }
    }
}
