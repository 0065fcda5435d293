//! The free blocks in order of reuse: a doubly linked list inside one vector, so that any block leaves it in O(1).

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    listed: bool,
}

/// Blocks that nobody holds; the front is reused first.
#[derive(Debug)]
pub(crate) struct FreeList {
    links: Vec<Link>,
    front: u32,
    back: u32,
    len: u32,
}

impl FreeList {
    /// All of `blocks` blocks, the lowest in front.
    pub(crate) fn full(blocks: u32) -> FreeList {
        let empty = Link { before: NONE, after: NONE, listed: false };
        let mut list = FreeList { links: vec![empty; blocks as usize], front: NONE, back: NONE, len: 0 };
        (0..blocks).for_each(|block| list.push_back(block));
        list
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn contains(&self, block: u32) -> bool {
        self.links[block as usize].listed
    }

    pub(crate) fn pop_front(&mut self) -> Option<u32> {
        let block = (self.front != NONE).then_some(self.front)?;
        self.remove(block);
        Some(block)
    }

    /// To be reused last.
    pub(crate) fn push_back(&mut self, block: u32) {
        self.link(block, self.back, NONE);
    }

    /// To be reused next.
    pub(crate) fn push_front(&mut self, block: u32) {
        self.link(block, NONE, self.front);
    }

    pub(crate) fn remove(&mut self, block: u32) {
        let Link { before, after, listed } = self.links[block as usize];
        debug_assert!(listed, "block {block} is not free");
        self.links[block as usize].listed = false;
        self.len -= 1;
        match before {
            NONE => self.front = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.back = before,
            after => self.links[after as usize].before = before,
        }
    }

    fn link(&mut self, block: u32, before: u32, after: u32) {
        debug_assert!(!self.contains(block), "block {block} is already free");
        self.links[block as usize] = Link { before, after, listed: true };
        self.len += 1;
        match before {
            NONE => self.front = block,
            before => self.links[before as usize].after = block,
        }
        match after {
            NONE => self.back = block,
            after => self.links[after as usize].before = block,
        }
    }

    /// From front to back.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let start = (self.front != NONE).then_some(self.front);
        std::iter::successors(start, |&block| {
            let after = self.links[block as usize].after;
            (after != NONE).then_some(after)
        })
    }
}
