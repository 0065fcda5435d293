//! The least of some rows, by chance among equals.

/// The row with the least key. Among equals `below(count)` draws evenly from 0 to count - 1: the first would else get
/// every request of an idle fleet. Nothing is drawn where there is one least.
pub fn least<K: PartialOrd>(
    rows: impl Iterator<Item = usize> + Clone,
    key: impl Fn(usize) -> K,
    below: impl FnOnce(u32) -> u32,
) -> Option<usize> {
    let mut least: Option<(usize, K)> = None;
    let mut equals = 0_u32;
    for row in rows.clone() {
        let found = key(row);
        match &least {
            Some((_, known)) if found > *known => {}
            Some((_, known)) if found == *known => equals += 1,
            _ => (least, equals) = (Some((row, found)), 1),
        }
    }
    let (first, known) = least?;
    if equals == 1 {
        return Some(first);
    }
    rows.filter(|row| key(*row) == known).nth(below(equals) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &[u32], draw: Option<u32>, expected: Option<usize>) {
        let mut drawn = None;
        let row = least(
            0..keys.len(),
            |row| keys[row],
            |bound| {
                drawn = draw;
                assert!(draw.is_some_and(|draw| draw < bound));
                draw.unwrap_or_default()
            },
        );
        assert_eq!((row, drawn), (expected, draw));
    }

    #[test]
    fn one_least_needs_no_chance() {
        check(&[3, 1, 2], None, Some(1));
        check(&[5], None, Some(0));
        check(&[], None, None);
    }

    #[test]
    fn equals_are_drawn_from() {
        check(&[1, 2, 1, 1], Some(1), Some(2));
        check(&[2, 2, 1, 1], Some(1), Some(3));
    }
}
