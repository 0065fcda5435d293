//! Reads little-endian values out of bytes, and never past their end.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Why a file cannot be read, in words for people.
pub(super) type Reason = String;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let at = self.at;
        let taken = at.checked_add(count).and_then(|end| self.bytes.get(at..end));
        let taken =
            taken.ok_or_else(|| format!("it ends at byte {}, inside {count} bytes at {at}", self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Reason> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things of which each takes at least `bytes_least` of what is left.
    pub(super) fn count(&mut self, bytes_least: usize) -> Result<usize, Reason> {
        let at = self.at;
        let found = self.u64()?;
        let most = self.left() / bytes_least.max(1);
        let count = usize::try_from(found).ok().filter(|count| *count <= most);
        count.ok_or_else(|| format!("the count {found} at byte {at} is more than the rest of the file can hold"))
    }

    /// A length and so many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str, Reason> {
        let at = self.at;
        let length = self.count(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }
}
