//! The content on disk, behind a bounded cache of blocks.
//!
//! Chunks come and go one at a time, often scattered inside a small region; the file is read and written a block at a time.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, sync::Arc};

use ppsp_core::ChunkId;

use super::tree_file::read_up_to;

/// Bytes in a block, about.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks kept in memory: 8 MiB.
const MAX_BLOCKS: usize = 128;

/// The file and its cache. Which chunks are held is for others to know.
#[derive(Debug)]
pub(crate) struct ContentFile {
    file: Arc<File>,
    chunk_size: usize,
    /// Chunks in a block, at most 128.
    block_chunks: u64,
    /// Where the content ends, once known: nothing is written beyond.
    end: Option<u64>,
    blocks: Vec<Block>,
    /// Block number to its place in `blocks`.
    places: HashMap<u64, usize>,
    /// Next block that the clock looks at for eviction.
    hand: usize,
    last: usize,
}

#[derive(Debug)]
struct Block {
    number: u64,
    data: Box<[u8]>,
    /// Bit per chunk: `data` holds it.
    valid: u128,
    /// Bit per chunk: it is not yet in the file. A subset of `valid`.
    dirty: u128,
    used: bool,
}

impl ContentFile {
    /// Over an open file; `end` is the length of the content where it is known.
    pub(crate) fn new(file: Arc<File>, chunk_size: u32, end: Option<u64>) -> Self {
        let chunk_size = chunk_size.max(1) as usize;
        let block_chunks = (BLOCK_BYTES / chunk_size).clamp(1, 128) as u64;
        Self { file, chunk_size, block_chunks, end, blocks: Vec::new(), places: HashMap::new(), hand: 0, last: 0 }
    }

    /// The file, to sync it while the store goes on.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Where the content ends is known now.
    pub(crate) fn set_end(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// Copies a chunk to the front of `out` and returns its length.
    ///
    /// # Errors
    ///
    /// Those of the file; `UnexpectedEof` where the file is shorter than that.
    pub(crate) fn read(&mut self, chunk: ChunkId, out: &mut [u8]) -> io::Result<usize> {
        let start = chunk.saturating_mul(self.chunk_size as u64);
        let length =
            self.end.map_or(self.chunk_size as u64, |end| end.saturating_sub(start)).min(self.chunk_size as u64);
        let length = length as usize;
        let (number, slot) = (chunk / self.block_chunks, (chunk % self.block_chunks) as usize);
        let place = self.place(number)?;
        if self.blocks[place].valid & (1 << slot) == 0 {
            self.load(place)?;
        }
        let block = &self.blocks[place];
        if block.valid & (1 << slot) == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its content"));
        }
        let out = out.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
        out.copy_from_slice(&block.data[slot * self.chunk_size..][..length]);
        Ok(length)
    }

    /// Takes a chunk. It reaches the file with the block, at the latest with [`flush`](Self::flush).
    pub(crate) fn write(&mut self, chunk: ChunkId, data: &[u8]) -> io::Result<()> {
        if data.len() > self.chunk_size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if data.len() < self.chunk_size {
            // Only the last chunk may be short.
            self.end = Some(chunk.saturating_mul(self.chunk_size as u64) + data.len() as u64);
        }
        let (number, slot) = (chunk / self.block_chunks, (chunk % self.block_chunks) as usize);
        let place = self.place(number)?;
        let block = &mut self.blocks[place];
        block.data[slot * self.chunk_size..][..data.len()].copy_from_slice(data);
        block.valid |= 1 << slot;
        block.dirty |= 1 << slot;
        if block.dirty.count_ones() as u64 == self.block_chunks {
            self.write_back(place)?;
        }
        Ok(())
    }

    /// Hands every changed block to the operating system.
    #[cfg(test)]
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.flush_some(usize::MAX).map(drop)
    }

    /// Hands changed blocks to the operating system, at most `limit`, and says how many.
    pub(crate) fn flush_some(&mut self, limit: usize) -> io::Result<usize> {
        let mut count = 0;
        for place in 0..self.blocks.len() {
            if count == limit {
                break;
            }
            count += usize::from(self.blocks[place].dirty != 0);
            self.write_back(place)?;
        }
        Ok(count)
    }

    /// Place of a block, an empty one where it was not in memory.
    fn place(&mut self, number: u64) -> io::Result<usize> {
        let place = match self.blocks.get(self.last) {
            Some(block) if block.number == number => self.last,
            _ => match self.places.get(&number) {
                Some(&place) => place,
                None => self.make_room(number)?,
            },
        };
        self.last = place;
        self.blocks[place].used = true;
        Ok(place)
    }

    fn make_room(&mut self, number: u64) -> io::Result<usize> {
        let place = if self.blocks.len() < MAX_BLOCKS {
            let data = vec![0; self.block_chunks as usize * self.chunk_size].into();
            self.blocks.push(Block { number, data, valid: 0, dirty: 0, used: true });
            self.blocks.len() - 1
        } else {
            let place = self.evict()?;
            let block = &mut self.blocks[place];
            (block.number, block.valid) = (number, 0);
            place
        };
        self.places.insert(number, place);
        Ok(place)
    }

    /// Frees the first block that was not used since the clock passed it last.
    fn evict(&mut self) -> io::Result<usize> {
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.blocks.len();
            if std::mem::take(&mut self.blocks[place].used) {
                continue;
            }
            self.write_back(place)?;
            self.places.remove(&self.blocks[place].number);
            return Ok(place);
        }
    }

    /// Reads a block from the file: afterwards all of it that the file holds is valid.
    fn load(&mut self, place: usize) -> io::Result<()> {
        self.write_back(place)?;
        let block = &mut self.blocks[place];
        block.valid = 0;
        let start = block.number * block.data.len() as u64;
        let read = read_up_to(&self.file, &mut block.data, start)?;
        let ends = self.end.is_some_and(|end| start + read as u64 >= end);
        let chunks = if ends { self.block_chunks } else { (read / self.chunk_size) as u64 };
        block.valid = low_bits(chunks);
        Ok(())
    }

    /// Writes the changed chunks of a block, run by run.
    fn write_back(&mut self, place: usize) -> io::Result<()> {
        let block = &mut self.blocks[place];
        let start = block.number * block.data.len() as u64;
        let end = self.end.map_or(usize::MAX, |end| usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX));
        while block.dirty != 0 {
            let first = block.dirty.trailing_zeros();
            let count = (block.dirty >> first).trailing_ones();
            let from = (first as usize * self.chunk_size).min(end);
            let to = ((first + count) as usize * self.chunk_size).min(end);
            self.file.write_all_at(&block.data[from..to], start + from as u64)?;
            block.dirty &= !(low_bits(count.into()) << first);
        }
        Ok(())
    }
}

fn low_bits(count: u64) -> u128 {
    if count >= 128 { u128::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(chunk: u64, len: usize) -> Vec<u8> {
        (0..len).map(|i| (chunk as usize * 31 + i) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whatever the order of writes, reads and flushes, each chunk reads back as written, and so does the file.
        #[test]
        fn reads_what_was_written(
            chunk_size in prop_oneof![Just(512usize), Just(1000), Just(1024), Just(40_000), Just(61_440)],
            last_len in 1usize..512,
            order in proptest::collection::vec((0u64..300, any::<bool>(), 0u8..8), 1..400),
        ) {
            let file = Arc::new(tempfile::tempfile().unwrap());
            let mut content = ContentFile::new(Arc::clone(&file), chunk_size as u32, None);
            let len = |c| if c == 299 { last_len } else { chunk_size };
            let mut written = std::collections::BTreeSet::new();
            let mut out = vec![0; chunk_size];
            for (chunk, write, flush) in order {
                if write && written.insert(chunk) {
                    content.write(chunk, &bytes(chunk, len(chunk))).unwrap();
                } else if written.contains(&chunk) {
                    let n = content.read(chunk, &mut out).unwrap();
                    prop_assert_eq!(&out[..n], &bytes(chunk, len(chunk))[..]);
                }
                if flush == 0 {
                    content.flush().unwrap();
                }
            }
            content.flush().unwrap();
            prop_assert!(content.blocks.len() <= MAX_BLOCKS);
            let end = written.contains(&299).then_some(299 * chunk_size as u64 + last_len as u64);
            let mut fresh = ContentFile::new(file, chunk_size as u32, end);
            for chunk in written {
                let n = fresh.read(chunk, &mut out).unwrap();
                prop_assert_eq!(&out[..n], &bytes(chunk, len(chunk))[..]);
            }
        }
    }

    #[test]
    fn a_truncated_file_is_an_error_and_not_zeros() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        file.set_len(1500).unwrap();
        let mut content = ContentFile::new(file, 1024, Some(4096));
        let mut out = [0; 1024];
        assert_eq!(content.read(0, &mut out).unwrap(), 1024);
        assert_eq!(content.read(1, &mut out).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn empty_content_is_one_chunk_of_length_zero() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut content = ContentFile::new(Arc::clone(&file), 1024, None);
        content.write(0, b"").unwrap();
        content.flush().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert_eq!(content.read(0, &mut [0; 1024]).unwrap(), 0);
    }
}
