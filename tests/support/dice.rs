//! Choices that can be repeated from a seed, and bodies that say by themselves whether they are whole.

/// Bytes of a body before its filler: number, length of the filler, checksum.
const HEAD_BYTES: usize = 24;

/// A small generator of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed makes the same choices.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in the environment variable, or one that nobody has had yet.
    ///
    /// # Panics
    /// If the variable is set and is no number.
    pub fn seed_from(variable: &str) -> u64 {
        if let Ok(text) = std::env::var(variable) {
            return text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number"));
        }
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
        // Short enough to be typed.
        Self::new(now.as_nanos() as u64 ^ u64::from(std::process::id())).number() >> 32
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Body number `number`: its head and a filler whose length (0 to 64 KiB, most are short) and bytes follow from the number.
pub fn body(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let filler_bytes = match dice.below(16) {
        0..=3 => 0,
        4..=11 => dice.below(300),
        12..=14 => dice.below(4096),
        _ => dice.below(64 * 1024 + 1),
    };
    let mut body = Vec::with_capacity(HEAD_BYTES + filler_bytes as usize + 8);
    body.extend_from_slice(&number.to_le_bytes());
    body.extend_from_slice(&filler_bytes.to_le_bytes());
    body.extend_from_slice(&[0; 8]);
    while body.len() < HEAD_BYTES + filler_bytes as usize {
        body.extend_from_slice(&dice.number().to_le_bytes());
    }
    body.truncate(HEAD_BYTES + filler_bytes as usize);
    let sum = checksum(&body);
    body[16..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    body
}

/// The number of a body that is whole.
///
/// # Errors
/// What is wrong with it.
pub fn number_of(found: &[u8]) -> Result<u64, String> {
    let word = |at: usize| {
        let bytes = found.get(at..at + 8)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    };
    let (Some(number), Some(filler_bytes), Some(sum)) = (word(0), word(8), word(16)) else {
        return Err(format!("{} bytes are no body", found.len()));
    };
    let mut blank = found.to_vec();
    blank[16..HEAD_BYTES].fill(0);
    if checksum(&blank) != sum || HEAD_BYTES as u64 + filler_bytes != found.len() as u64 {
        return Err(format!("what says it is item {number}, of {} bytes, is damaged", found.len()));
    }
    match body(number) == found {
        true => Ok(number),
        false => Err(format!("item {number} is whole and is not what was put")),
    }
}

/// FNV-1a over words of eight bytes.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |sum: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x100_0000_01b3).rotate_left(17)
    })
}
