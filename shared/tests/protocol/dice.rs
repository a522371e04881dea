//! The one source of chance: everything that a schedule does follows from its seed.

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): any
/// seed is a good one, and neighbouring seeds have nothing in common.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `sides`, all of them equally likely (but for less than 2⁻³²).
    pub fn below(&mut self, sides: u32) -> u32 {
        let high = self.next() >> 32;
        u32::try_from((high * u64::from(sides)) >> 32).unwrap_or(0)
    }

    /// An index into a list of `length` elements.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(u32::try_from(length).unwrap_or(u32::MAX)) as usize
    }

    /// A number of `low ..= high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True once in `sides` throws; never for 0.
    pub fn one_in(&mut self, sides: u32) -> bool {
        sides > 0 && self.below(sides) == 0
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}
