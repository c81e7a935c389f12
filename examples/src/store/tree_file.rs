//! The hash tree on disk: a flat array of hashes, indexed by bin number, behind a bounded cache of pages.
//!
//! A slot of zeros is unknown. Nothing in the file is believed when it is opened: whoever reads it proves it from the root.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, sync::Arc};

use ppsp_core::{Bin, Hash};

/// Hashes in a page.
const PAGE_SLOTS: u64 = 512;

/// The file and its cache.
#[derive(Debug)]
pub(crate) struct TreeFile {
    file: Arc<File>,
    hash_len: usize,
    pages: Vec<Page>,
    /// Page number to its place in `pages`.
    places: HashMap<u64, usize>,
    /// Next page that the clock looks at for eviction.
    hand: usize,
    /// The page used last: neighbours follow one another.
    last: usize,
}

#[derive(Debug)]
struct Page {
    number: u64,
    slots: Box<[u8]>,
    dirty: bool,
    used: bool,
}

impl TreeFile {
    /// Pages kept in memory: 4 MiB of SHA-256 hashes.
    pub(super) const MAX_PAGES: usize = 256;

    /// Over a file opened for reading and writing.
    pub(crate) fn new(file: Arc<File>, hash_len: usize) -> Self {
        Self { file, hash_len, pages: Vec::new(), places: HashMap::new(), hand: 0, last: 0 }
    }

    /// The hash in the slot of `node`.
    pub(crate) fn get(&mut self, node: Bin) -> io::Result<Option<Hash>> {
        let (page, slot) = self.slot(node)?;
        let hash = Hash::from_bytes(&self.pages[page].slots[slot]);
        Ok(hash.filter(|hash| !hash.is_empty()))
    }

    /// Fills the slot of `node`.
    pub(crate) fn set(&mut self, node: Bin, hash: &Hash) -> io::Result<()> {
        let (page, slot) = self.slot(node)?;
        let page = &mut self.pages[page];
        page.slots[slot].copy_from_slice(hash.as_bytes());
        page.dirty = true;
        Ok(())
    }

    /// Hands every changed page to the operating system.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.flush_some(usize::MAX).map(drop)
    }

    /// Hands changed pages to the operating system, at most `limit`, and says how many.
    pub(crate) fn flush_some(&mut self, limit: usize) -> io::Result<usize> {
        let mut count = 0;
        for page in 0..self.pages.len() {
            if count == limit {
                break;
            }
            count += usize::from(self.pages[page].dirty);
            self.write_back(page)?;
        }
        Ok(count)
    }

    /// Hands every changed page to the operating system and keeps none: whoever has the file may write to it meanwhile.
    pub(crate) fn forget_pages(&mut self) -> io::Result<()> {
        self.flush()?;
        self.pages.clear();
        self.places.clear();
        (self.hand, self.last) = (0, 0);
        Ok(())
    }

    /// Forgets everything, in memory and on disk.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.pages.clear();
        self.places.clear();
        (self.hand, self.last) = (0, 0);
        self.file.set_len(0)
    }

    /// Forgets every hash below `node`, and its own.
    pub(crate) fn clear_below(&mut self, node: Bin) -> io::Result<()> {
        let (first, last) = (node.first_chunk() << 1, node.last_chunk() << 1);
        // The nodes of a subtree lie side by side. Past the end of the file all is zero already.
        let page_len = PAGE_SLOTS * self.hash_len as u64;
        let pages_on_disk = self.file.metadata()?.len().div_ceil(page_len);
        let in_memory = self.places.keys().max().map_or(0, |&number| number + 1);
        for number in first / PAGE_SLOTS..(last / PAGE_SLOTS + 1).min(pages_on_disk.max(in_memory)) {
            let from = first.max(number * PAGE_SLOTS);
            let to = last.min(number * PAGE_SLOTS + PAGE_SLOTS - 1);
            let Some(bin) = Bin::new(from) else { continue };
            let (page, slot) = self.slot(bin)?;
            let len = (to - from + 1) as usize * self.hash_len;
            let page = &mut self.pages[page];
            let slots = &mut page.slots[slot.start..slot.start + len];
            if slots.iter().any(|&byte| byte != 0) {
                slots.fill(0);
                page.dirty = true;
            }
        }
        Ok(())
    }

    /// The file, to sync it while the store goes on.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Place of the page that holds `node`, and the bytes of the node in it.
    fn slot(&mut self, node: Bin) -> io::Result<(usize, std::ops::Range<usize>)> {
        let (number, slot) = (node.number() / PAGE_SLOTS, (node.number() % PAGE_SLOTS) as usize);
        let page = match self.pages.get(self.last) {
            Some(page) if page.number == number => self.last,
            _ => match self.places.get(&number) {
                Some(&page) => page,
                None => self.load(number)?,
            },
        };
        self.last = page;
        self.pages[page].used = true;
        Ok((page, slot * self.hash_len..(slot + 1) * self.hash_len))
    }

    fn load(&mut self, number: u64) -> io::Result<usize> {
        let page_len = PAGE_SLOTS as usize * self.hash_len;
        let place = if self.pages.len() < Self::MAX_PAGES {
            self.pages.push(Page { number, slots: vec![0; page_len].into(), dirty: false, used: true });
            self.pages.len() - 1
        } else {
            let place = self.evict()?;
            self.pages[place].slots.fill(0);
            self.pages[place].number = number;
            place
        };
        if let Err(error) = read_up_to(&self.file, &mut self.pages[place].slots, offset(number, page_len)) {
            // A page that was not read is no page: one without a number never matches.
            self.pages[place].number = u64::MAX;
            return Err(error);
        }
        self.places.insert(number, place);
        Ok(place)
    }

    /// Frees the first page that was not used since the clock passed it last.
    fn evict(&mut self) -> io::Result<usize> {
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.pages.len();
            if std::mem::take(&mut self.pages[place].used) {
                continue;
            }
            self.write_back(place)?;
            self.places.remove(&self.pages[place].number);
            return Ok(place);
        }
    }

    fn write_back(&mut self, place: usize) -> io::Result<()> {
        let page = &mut self.pages[place];
        if page.dirty {
            self.file.write_all_at(&page.slots, offset(page.number, page.slots.len()))?;
            page.dirty = false;
        }
        Ok(())
    }
}

fn offset(number: u64, page_len: usize) -> u64 {
    number.saturating_mul(page_len as u64)
}

/// Fills as much of `out` as the file holds from `offset` on, and says how much that was.
pub(crate) fn read_up_to(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(&mut out[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> Hash {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&(n + 1).to_be_bytes());
        Hash::from_bytes(&bytes).unwrap()
    }

    fn bin(n: u64) -> Bin {
        Bin::new(n).unwrap()
    }

    #[test]
    fn survives_eviction_and_reopening() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut tree = TreeFile::new(Arc::clone(&file), 20);
        let count = PAGE_SLOTS * (TreeFile::MAX_PAGES as u64 + 50);
        for n in (0..count).step_by(3) {
            tree.set(bin(n), &hash(n)).unwrap();
        }
        for n in 0..count {
            assert_eq!(tree.get(bin(n)).unwrap(), (n % 3 == 0).then(|| hash(n)), "{n}");
        }
        assert!(tree.pages.len() <= TreeFile::MAX_PAGES);
        tree.flush().unwrap();
        let mut tree = TreeFile::new(file, 20);
        assert_eq!(tree.get(bin(300)).unwrap(), Some(hash(300)));
        assert_eq!(tree.get(bin(u64::MAX / 64)).unwrap(), None);
        tree.clear().unwrap();
        assert_eq!(tree.get(bin(300)).unwrap(), None);
    }

    #[test]
    fn clears_a_subtree_and_nothing_else() {
        let mut tree = TreeFile::new(Arc::new(tempfile::tempfile().unwrap()), 20);
        for n in 0..4096 {
            tree.set(bin(n), &hash(n)).unwrap();
        }
        tree.flush().unwrap();
        let node = Bin::at(9, 600).unwrap();
        tree.clear_below(node).unwrap();
        for n in 0..4096 {
            assert_eq!(tree.get(bin(n)).unwrap().is_none(), node.contains(bin(n)), "{n}");
        }
        // Far beyond the end of the file: cheap, and nothing happens.
        tree.clear_below(Bin::at(8, 1 << 50).unwrap()).unwrap();
    }
}
