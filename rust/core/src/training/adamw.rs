//! One step of AdamW (Loshchilov and Hutter, 2019), with the roundings of `torch.optim.AdamW`: weights decay apart from
//! the gradient, and both means are corrected for having begun at 0.

use crate::error::{Error, Result};

use super::settings::StepSettings;
use super::tensors::{AdapterTensors, Tensor};

impl StepSettings {
    fn check(&self) -> Result<()> {
        let is_share = |value: f64| (0.0..1.0).contains(&value);
        let is_size = |value: f64| value.is_finite() && value >= 0.0;
        let rules = [
            (
                "learning_rate",
                self.learning_rate,
                is_size(self.learning_rate),
                "0 or more",
            ),
            (
                "beta1",
                self.beta1,
                is_share(self.beta1),
                "from 0 to below 1",
            ),
            (
                "beta2",
                self.beta2,
                is_share(self.beta2),
                "from 0 to below 1",
            ),
            ("epsilon", self.epsilon, is_size(self.epsilon), "0 or more"),
            (
                "weight_decay",
                self.weight_decay,
                is_size(self.weight_decay),
                "0 or more",
            ),
            (
                "scale",
                self.scale,
                self.scale.is_finite(),
                "a finite number",
            ),
        ];
        if let Some((name, value, _, wanted)) = rules.iter().find(|(_, _, holds, _)| !holds) {
            return Err(Error::Config(format!(
                "{name} is {value}; it must be {wanted}"
            )));
        }
        match self.max_gradient_norm {
            Some(norm) if norm.is_nan() || norm <= 0.0 => Err(Error::Config(format!(
                "max_gradient_norm is {norm}; it must be more than 0"
            ))),
            _ => Ok(()),
        }
    }
}

/// Makes step number `steps + 1` and clears the gradients; gives their norm as it was before it was cut. An error where
/// that is no number: then nothing has changed but the gradients, which are cleared.
pub(super) fn step(
    tensors: &mut AdapterTensors,
    steps: u64,
    settings: &StepSettings,
) -> Result<f64> {
    settings.check()?;
    let squares = tensors.tensors().flat_map(|tensor| &tensor.gradient);
    let squares: f64 = squares.map(|value| f64::from(*value).powi(2)).sum();
    let norm = squares.sqrt() * settings.scale.abs();
    let is_finite = norm.is_finite();
    if is_finite {
        let factor = match settings.max_gradient_norm {
            // As `torch.nn.utils.clip_grad_norm_` cuts.
            Some(longest) => settings.scale * (longest / (norm + 1e-6)).min(1.0),
            None => settings.scale,
        };
        let pace = Pace::new(steps, settings, factor);
        for tensor in tensors.tensors_mut() {
            pace.apply(tensor);
        }
        tensors.changed();
    }
    for tensor in tensors.tensors_mut() {
        tensor.gradient.fill(0.0);
    }
    if is_finite {
        Ok(norm)
    } else {
        Err(Error::Sona(format!(
            "the gradient's norm is {norm}; the step was left out, and the gradients are cleared"
        )))
    }
}

/// The factors of a step, in f32 as numbers and means are.
struct Pace {
    gradient: f32,
    kept: f32,
    step: f32,
    root: f32,
    epsilon: f32,
    betas: [f32; 2],
    rests: [f32; 2],
}

impl Pace {
    fn new(steps: u64, settings: &StepSettings, gradient: f64) -> Self {
        let number = steps as f64 + 1.0;
        let corrections = [settings.beta1, settings.beta2].map(|beta| 1.0 - beta.powf(number));
        Self {
            gradient: gradient as f32,
            kept: (1.0 - settings.learning_rate * settings.weight_decay) as f32,
            step: (settings.learning_rate / corrections[0]) as f32,
            root: corrections[1].sqrt() as f32,
            epsilon: settings.epsilon as f32,
            betas: [settings.beta1 as f32, settings.beta2 as f32],
            rests: [(1.0 - settings.beta1) as f32, (1.0 - settings.beta2) as f32],
        }
    }

    fn apply(&self, tensor: &mut Tensor) {
        let numbers = tensor.value.iter_mut().zip(&tensor.gradient);
        let moments = tensor
            .first_moment
            .iter_mut()
            .zip(&mut tensor.second_moment);
        for ((value, gradient), (first, second)) in numbers.zip(moments) {
            let gradient = gradient * self.gradient;
            *value *= self.kept;
            *first += self.rests[0] * (gradient - *first);
            *second = self.betas[1] * *second + self.rests[1] * gradient * gradient;
            *value -= self.step * *first / (second.sqrt() / self.root + self.epsilon);
        }
    }
}
