//! How often guesses come true, by how much they rest upon.

/// Matches of 1, 2, 3 to 4, 5 to 8, 9 to 16, 17 to 32 and of more tokens.
const CLASSES: usize = 7;
/// Before any was seen.
const ASSUMED: [f64; CLASSES] = [0.1, 0.25, 0.4, 0.6, 0.75, 0.85, 0.92];
/// A guess that was seen counts so much.
const WEIGHT: f64 = 0.08;

/// The share of guesses that come true, as it was seen lately.
#[derive(Debug, Clone)]
pub struct Acceptance([f64; CLASSES]);

impl Default for Acceptance {
    fn default() -> Self {
        Self(ASSUMED)
    }
}

impl Acceptance {
    /// How likely a guess is that rests upon a match of so many tokens, at least one.
    pub fn of(&self, match_length: usize) -> f64 {
        self.0[class_of(match_length)]
    }

    /// Takes in what became of one, whether it was computed or not.
    pub fn learn(&mut self, match_length: usize, came_true: bool) {
        let share = &mut self.0[class_of(match_length)];
        *share += WEIGHT * (f64::from(u8::from(came_true)) - *share);
    }

    /// How likely it is that the first one of some guesses comes true, the first two, and so on. A guess behind
    /// one that came true rests upon that, too.
    pub fn chances(&self, match_length: usize, guesses: usize, chances: &mut Vec<f64>) {
        let mut all = 1.0;
        chances.extend((match_length..match_length + guesses).map(|length| {
            all *= self.of(length);
            all
        }));
    }
}

fn class_of(match_length: usize) -> usize {
    let bits = match_length.max(1).next_power_of_two().ilog2() as usize;
    bits.min(CLASSES - 1)
}
