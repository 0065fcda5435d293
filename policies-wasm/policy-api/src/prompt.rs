//! A prompt's text in the pieces that it came in, so that nobody need copy them together.

use bytes::Bytes;

/// Text in pieces, in order. Where one piece ends says nothing: equal texts are equal however they are cut.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    pieces: Pieces,
    len: usize,
}

#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces::One(Bytes::new())
    }
}

impl Prompt {
    /// A prompt of these pieces.
    pub fn of(mut pieces: Vec<Bytes>) -> Prompt {
        let len = pieces.iter().map(Bytes::len).sum();
        let pieces = match pieces.len() {
            0 => Pieces::default(),
            1 => Pieces::One(pieces.swap_remove(0)),
            _ => Pieces::Many(pieces),
        };
        Prompt { pieces, len }
    }

    /// Bytes of the whole text.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The text piece by piece.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Many(pieces) => pieces,
        }
    }

    /// At most `bytes_max` bytes from `offset` on.
    pub fn range(&self, offset: usize, bytes_max: usize) -> Vec<u8> {
        let mut wanted = self.len.saturating_sub(offset).min(bytes_max);
        let (mut skip, mut text) = (offset, Vec::with_capacity(wanted));
        for piece in self.pieces() {
            let rest = &piece[skip.min(piece.len())..];
            skip -= piece.len() - rest.len();
            let taken = &rest[..rest.len().min(wanted)];
            text.extend_from_slice(taken);
            wanted -= taken.len();
            if wanted == 0 {
                break;
            }
        }
        text
    }

    /// The whole text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.range(0, self.len)
    }

    /// Calls `each` with every whole block of `N` bytes, in order, and gives what is left after the last.
    pub(crate) fn each_block<const N: usize>(&self, mut each: impl FnMut(&[u8; N])) -> Vec<u8> {
        // Of a block that lies in several pieces, what has been gathered.
        let mut gathered: Vec<u8> = Vec::new();
        for piece in self.pieces() {
            let mut rest: &[u8] = piece;
            if !gathered.is_empty() {
                let (more, after) = rest.split_at(rest.len().min(N - gathered.len()));
                gathered.extend_from_slice(more);
                rest = after;
                let Some(block) = gathered.first_chunk() else { continue };
                each(block);
                gathered.clear();
            }
            let (blocks, tail) = rest.as_chunks();
            blocks.iter().for_each(&mut each);
            gathered.extend_from_slice(tail);
        }
        gathered
    }
}

impl From<Bytes> for Prompt {
    fn from(text: Bytes) -> Prompt {
        Prompt { len: text.len(), pieces: Pieces::One(text) }
    }
}

impl From<Vec<u8>> for Prompt {
    fn from(text: Vec<u8>) -> Prompt {
        Bytes::from(text).into()
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Prompt {
        Bytes::from(text).into()
    }
}

impl From<&'static [u8]> for Prompt {
    fn from(text: &'static [u8]) -> Prompt {
        Bytes::from_static(text).into()
    }
}

impl PartialEq for Prompt {
    fn eq(&self, other: &Prompt) -> bool {
        self.len == other.len && self.pieces().iter().flatten().eq(other.pieces().iter().flatten())
    }
}

impl PartialEq<&str> for Prompt {
    fn eq(&self, other: &&str) -> bool {
        self.len == other.len() && self.pieces().iter().flatten().eq(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &[u8], cuts: &[prop::sample::Index]) -> Prompt {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        at.sort_unstable();
        Prompt::of(at.windows(2).map(|ends| Bytes::copy_from_slice(&text[ends[0]..ends[1]])).collect())
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_it_is_the_same(
            text in prop::collection::vec(any::<u8>(), 0..100),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            offset in 0_usize..120,
            bytes_max in 0_usize..120,
        ) {
            let prompt = cut(&text, &cuts);
            prop_assert_eq!(prompt.len(), text.len());
            prop_assert_eq!(&prompt.to_vec(), &text);
            let part: Vec<u8> = text.iter().skip(offset).take(bytes_max).copied().collect();
            prop_assert_eq!(prompt.range(offset, bytes_max), part);
            let mut blocks = Vec::new();
            let tail = prompt.each_block::<7>(|block| blocks.push(block.to_vec()));
            let expected: Vec<Vec<u8>> = text.chunks_exact(7).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(blocks, expected);
            prop_assert_eq!(tail, text.chunks_exact(7).remainder());
            prop_assert_eq!(prompt, Prompt::from(text));
        }
    }
}
