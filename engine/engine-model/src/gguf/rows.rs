//! Puts back the rows of a llama's queries and keys that llama.cpp's converter interleaved.

/// Rows come in heads of `head_rows`; in each, row `2 i + j` goes to `i + j * head_rows / 2`.
///
/// Works on rows as they are stored, whatever their type: no block spans two.
pub(super) fn apart(bytes: &[u8], row_bytes: usize, head_rows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(row_bytes * head_rows) {
        for row in 0..head_rows {
            let from = row % (head_rows / 2) * 2 + row / (head_rows / 2);
            out.extend_from_slice(&head[from * row_bytes..][..row_bytes]);
        }
    }
    out
}

#[cfg(test)]
mod tests;
