//! Top-n-sigma (Tang, Liu, Xu and others, 2024): tokens whose logits are near the largest, by how far logits lie apart.

/// How many sums are made beside each other.
const LANES: usize = 8;

/// The standard deviation of the logits that can be chosen; NaN, -inf and the least finite number count as masked.
/// `maximum` is the largest and finite; +inf counts as it.
pub(super) fn deviation(logits: &[f32], maximum: f32) -> f64 {
    let mut sums = [[0.0_f64; LANES]; 3];
    for part in logits.chunks(LANES) {
        for (lane, logit) in part.iter().enumerate() {
            let counts = *logit > f32::MIN;
            // From the largest, so that squares stay small; what is masked adds nothing.
            let distance = if counts {
                f64::from(logit.min(maximum)) - f64::from(maximum)
            } else {
                0.0
            };
            sums[0][lane] += f64::from(u8::from(counts));
            sums[1][lane] += distance;
            sums[2][lane] += distance * distance;
        }
    }
    let [count, sum, squares] = sums.map(|lanes| lanes.iter().sum::<f64>());
    if count == 0.0 {
        return 0.0;
    }
    let mean = sum / count;
    (squares / count - mean * mean).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_numbers_that_are_there() {
        let there: Vec<f32> = (0..1003)
            .map(|i| ((i * 7919) % 1013) as f32 / 64.0)
            .collect();
        let count = there.len() as f64;
        let mean = there.iter().map(|logit| f64::from(*logit)).sum::<f64>() / count;
        let squares = there.iter().map(|logit| (f64::from(*logit) - mean).powi(2));
        let expected = (squares.sum::<f64>() / count).sqrt();
        let mut logits = there.clone();
        for (place, masked) in [f32::NAN, f32::NEG_INFINITY, f32::MIN].iter().enumerate() {
            logits.insert(place * 300, *masked);
        }
        let maximum = there.iter().copied().fold(f32::MIN, f32::max);
        assert!((deviation(&logits, maximum) / expected - 1.0).abs() < 1e-12);
        assert_eq!(deviation(&[f32::NAN, 3.0], 3.0), 0.0);
        assert_eq!(deviation(&[f32::MIN], f32::MIN), 0.0);
        assert!(deviation(&[f32::INFINITY, 0.0], f32::MAX).is_finite());
    }
}
