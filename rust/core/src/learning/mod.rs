//! Learning while serving: an adapter on the last hidden state, what is kept of answers for it, and the step that
//! feedback makes. Plain numbers in and out; nothing here knows of tenants, engines or models.

mod capture;
mod choice;
mod direction;
mod head;
mod line;
mod measure;
mod point;
mod state;
mod step;
mod update;

pub use capture::{CANDIDATES, Capture, CaptureRing, Captured, CapturedToken};
pub use head::HeadAdapter;
pub use state::{HeadState, StepLimits};
pub use update::{HeadLearner, HeadRows, Update};
