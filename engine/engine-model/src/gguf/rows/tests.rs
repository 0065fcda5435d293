//! The order of rows.

use super::apart;

#[test]
fn even_rows_of_a_head_come_first() {
    let rows = |order: &[u8]| order.iter().flat_map(|row| [*row; 3]).collect::<Vec<u8>>();
    let stored = rows(&[0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
    assert_eq!(apart(&stored, 3, 6), rows(&[0, 2, 4, 1, 3, 5, 10, 12, 14, 11, 13, 15]));
}
