//! What a training is told.

/// Which adapter is trained.
#[derive(Debug, Clone)]
pub struct TrainingSettings {
    /// Rows of A.
    pub rank: usize,
    /// The product of B and A is multiplied with `alpha / rank`.
    pub alpha: f32,
    /// Maps by their names in PEFT's files.
    pub modules: Vec<String>,
    /// Of what A is drawn with.
    pub seed: u64,
    /// `None`: all.
    pub layers: Option<Vec<usize>>,
}

/// How a step of AdamW goes.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// How far it goes.
    pub learning_rate: f64,
    /// How slowly the mean of the gradients follows.
    pub beta1: f64,
    /// How slowly the mean of their squares follows.
    pub beta2: f64,
    /// Added to the root of that.
    pub epsilon: f64,
    /// What share of itself a number loses for a learning rate of 1.
    pub weight_decay: f64,
    /// Longer gradients, all of them taken together, are shortened to this.
    pub max_gradient_norm: Option<f64>,
    /// What the gradients are multiplied with first: one by what was added up, most often.
    pub scale: f64,
}

impl Default for StepSettings {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: None,
            scale: 1.0,
        }
    }
}
