//! How a packed layout keeps the integers of weights: as they are, or as places in a codebook.

/// Sixteen integers that four bits choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codebook {
    /// Denser around zero: IQ4_NL and IQ4_XS.
    Nonlinear,
    /// Twice the E2M1 floats, whose sign is the upper bit of the place: MXFP4.
    Floats,
    /// The odd numbers from -15 to 15: IQ3_S.
    Odd,
}

impl Codebook {
    /// The integers, moved up by 128, so that they are not negative.
    pub(crate) const fn entries(self) -> [u8; 16] {
        moved_up(match self {
            Self::Nonlinear => [
                -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
            ],
            Self::Odd => [-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15],
            Self::Floats => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12],
        })
    }

    /// The place of each integer that is an entry; of one that is there twice, one of the two.
    pub(crate) const fn places(self) -> [u8; 256] {
        let entries = self.entries();
        let mut places = [0; 256];
        let mut place = 0;
        while place < 16 {
            places[entries[place] as usize] = place as u8;
            place += 1;
        }
        places
    }
}

const fn moved_up(entries: [i8; 16]) -> [u8; 16] {
    let mut moved = [0; 16];
    let mut place = 0;
    while place < 16 {
        moved[place] = (entries[place] as i16 + 128) as u8;
        place += 1;
    }
    moved
}

/// Bits of a weight in memory, and above them which codebook they choose from: one number, for it is a constant
/// parameter of products.
pub(crate) const fn coding(bits: u32, codebook: Option<Codebook>) -> u32 {
    match codebook {
        None => bits,
        Some(Codebook::Nonlinear) => bits | 1 << 4,
        Some(Codebook::Floats) => bits | 2 << 4,
        Some(Codebook::Odd) => bits | 3 << 4,
    }
}

/// Places in [`Codebook::Nonlinear`].
pub(crate) const NONLINEAR: u32 = coding(4, Some(Codebook::Nonlinear));
/// Places in [`Codebook::Floats`].
pub(crate) const FLOATS: u32 = coding(4, Some(Codebook::Floats));
/// Places in [`Codebook::Odd`].
pub(crate) const ODD: u32 = coding(4, Some(Codebook::Odd));

/// Bits of a weight in memory.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) const fn stored_bits(coding: u32) -> u32 {
    coding & 15
}

/// Bits of the integer that meets activations.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) const fn product_bits(coding: u32) -> u32 {
    match entries(coding) {
        Some(_) => 8,
        None => coding,
    }
}

/// What four bits choose from.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) const fn entries(coding: u32) -> Option<[u8; 16]> {
    match coding {
        NONLINEAR => Some(Codebook::Nonlinear.entries()),
        FLOATS => Some(Codebook::Floats.entries()),
        ODD => Some(Codebook::Odd.entries()),
        _ => None,
    }
}
