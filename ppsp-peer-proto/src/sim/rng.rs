use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The only source of chance of a simulated world: a stream of numbers named by a seed and what it is for.
///
/// Everything that needs chance gets a stream of its own, so that one more draw here does not change what happens there.
#[derive(Clone, Debug)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream called `purpose` (and `number`) of the world with this seed.
    pub fn new(seed: u64, purpose: &str, number: u64) -> Self {
        Self(ChaCha8Rng::from_seed(Self::bytes(seed, purpose, number)))
    }

    /// 32 bytes that nothing else in the world with this seed gets.
    pub fn bytes(seed: u64, purpose: &str, number: u64) -> [u8; 32] {
        // FNV-1a keeps names apart; ChaCha does the rest.
        let name = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&name.to_le_bytes());
        key[16..24].copy_from_slice(&number.to_le_bytes());
        let mut out = [0; 32];
        ChaCha8Rng::from_seed(key).fill_bytes(&mut out);
        out
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly from `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The bias of 2^-64·n is of no matter here.
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// True `per_million` times in a million.
    pub fn hits(&mut self, per_million: u32) -> bool {
        // No draw where the answer is known: a perfect link costs nothing.
        match per_million {
            0 => false,
            p if p >= 1_000_000 => true,
            p => self.below(1_000_000) < u64::from(p),
        }
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}
