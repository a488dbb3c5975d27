//! How often guesses come true, by what they rest upon.

use super::proposer::Support;

/// Matches of 1, 2, 3 to 4, 5 to 8, 9 to 16, 17 to 32 and of more tokens; of a model's chances those of [`SURE`].
const CLASSES: usize = 7;
/// Below the first, the second and so on a model's guess is of that class.
const SURE: [f32; CLASSES - 1] = [0.2, 0.4, 0.6, 0.8, 0.9, 0.97];
/// Before any was seen. What others were told says less than what this text says; a model is about as often right as
/// it thinks.
const ASSUMED: [[f64; CLASSES]; 3] = [
    [0.1, 0.25, 0.4, 0.6, 0.75, 0.85, 0.92],
    [0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 0.9],
    [0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.92],
];
/// A guess that was seen counts so much.
const WEIGHT: f64 = 0.08;

/// The share of guesses that come true, as it was seen lately.
#[derive(Debug, Clone)]
pub struct Acceptance([[f64; CLASSES]; 3]);

impl Default for Acceptance {
    fn default() -> Self {
        Self(ASSUMED)
    }
}

impl Acceptance {
    /// How likely a guess is that rests upon this.
    pub fn of(&self, support: Support) -> f64 {
        let (source, class) = place_of(support);
        self.0[source][class]
    }

    /// Takes in what became of one, whether it was computed or not.
    pub fn learn(&mut self, support: Support, came_true: bool) {
        let (source, class) = place_of(support);
        let share = &mut self.0[source][class];
        *share += WEIGHT * (f64::from(u8::from(came_true)) - *share);
    }

    /// How likely it is that the first one of some guesses comes true, the first two, and so on. A guess behind
    /// one that came true rests upon that, too.
    pub fn chances(&self, support: Support, guesses: usize, chances: &mut Vec<f64>) {
        let mut all = 1.0;
        chances.extend((0..guesses).map(|guess| {
            all *= self.of(support.behind(guess));
            all
        }));
    }
}

fn place_of(support: Support) -> (usize, usize) {
    let by_length = |length: usize| {
        let bits = length.max(1).next_power_of_two().ilog2() as usize;
        bits.min(CLASSES - 1)
    };
    match support {
        Support::Text(length) => (0, by_length(length)),
        Support::History(length) => (1, by_length(length)),
        Support::Model(chance) => (2, SURE.iter().filter(|least| chance >= **least).count()),
    }
}
