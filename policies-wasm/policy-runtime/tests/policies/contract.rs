//! The contract's text is what people build against: its shape is a snapshot.

/// Comments may be bettered; the shape of a released version may not change.
#[test]
fn the_shape_of_version_0_1_0() {
    let text = crate::support::contract_text();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("///") && !line.trim().is_empty());
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
