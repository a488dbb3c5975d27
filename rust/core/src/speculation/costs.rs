//! What a step costs by its rows, as it was seen.

/// Steps of more rows are not told apart.
pub(super) const MOST_ROWS: usize = 256;
/// What another row is thought to cost of a step of one, where nothing is known: little, so that it is tried. Where
/// fewer rows were seen to cost more, so do these.
const ASSUMED_ROW: f64 = 0.1;
/// How much one step says of the pace of all, which changes with the context and with the company.
const PACE_WEIGHT: f64 = 0.05;
/// How much it says of steps of its size beside others.
const SHAPE_WEIGHT: f64 = 0.25;
/// One step says at most that it takes so many times as long: the machine does other work, too.
const MOST_TIMES: f64 = 2.0;
/// A size that was not met for so many steps is open again: what made it slow may be over.
const REMEMBERED_STEPS: u64 = 512;

/// The time of a step by its rows.
#[derive(Debug, Clone)]
pub struct StepCosts {
    /// The logarithm of a single row's seconds; `None` before the first step.
    pace: Option<f64>,
    /// By rows, from one on.
    sizes: Vec<Size>,
    steps: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// The logarithm of how many times as long as a single row it takes.
    times: f64,
    /// The last step of this size.
    step: Option<u64>,
}

impl Default for StepCosts {
    fn default() -> Self {
        Self {
            pace: None,
            sizes: vec![Size::default(); MOST_ROWS],
            steps: 0,
        }
    }
}

impl StepCosts {
    /// Takes in how long a step of so many rows took.
    pub fn note(&mut self, rows: usize, nanoseconds: u64) {
        if rows == 0 || rows > MOST_ROWS || nanoseconds == 0 {
            return;
        }
        self.steps += 1;
        let times = self.times(rows).ln();
        let seconds = (nanoseconds as f64 * 1e-9).ln();
        let Some(pace) = self.pace else {
            self.pace = Some(seconds - times);
            self.keep(rows, times);
            return;
        };
        let most = MOST_TIMES.ln();
        let off = (seconds - pace - times).clamp(-most, most);
        if rows == 1 {
            self.pace = Some(pace + (PACE_WEIGHT + SHAPE_WEIGHT) * off);
        } else {
            self.pace = Some(pace + PACE_WEIGHT * off);
            self.keep(rows, times + SHAPE_WEIGHT * off);
        }
    }

    fn keep(&mut self, rows: usize, times: f64) {
        self.sizes[rows - 1] = Size {
            times: if rows == 1 { 0.0 } else { times },
            step: Some(self.steps),
        };
    }

    /// How many times as long as a step of one row one of so many takes.
    pub fn times(&self, rows: usize) -> f64 {
        let rows = rows.clamp(1, MOST_ROWS);
        if let Some(times) = self.known(rows) {
            return times;
        }
        let below = (1..rows)
            .rev()
            .find_map(|size| Some((size, self.known(size)?)));
        let (low_rows, low) = below.unwrap_or((1, 1.0));
        let above = (rows + 1..=MOST_ROWS).find_map(|size| Some((size, self.known(size)?)));
        let Some((high_rows, high)) = above else {
            let seen = (low - 1.0) / (low_rows.max(2) - 1) as f64;
            return low + ASSUMED_ROW.max(seen) * (rows - low_rows) as f64;
        };
        low + (high - low) * (rows - low_rows) as f64 / (high_rows - low_rows) as f64
    }

    /// About how many seconds a step of so many rows takes; `None` before the first one.
    pub fn seconds(&self, rows: usize) -> Option<f64> {
        Some(self.pace?.exp() * self.times(rows))
    }

    /// The sizes that were met lately, each with how many times as long as a single row it takes.
    pub fn table(&self) -> Vec<(usize, f64)> {
        let sizes = 1..=MOST_ROWS;
        sizes
            .filter_map(|rows| Some((rows, self.known(rows)?)))
            .collect()
    }

    fn known(&self, rows: usize) -> Option<f64> {
        if rows == 1 {
            return Some(1.0);
        }
        let size = self.sizes[rows - 1];
        let is_known = size.step? + REMEMBERED_STEPS >= self.steps;
        is_known.then(|| size.times.exp())
    }
}
