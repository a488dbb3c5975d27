//! Where one is on the way through the segments.

use super::ahead::Ahead;
use super::arithmetic::Arithmetic;
use super::segment::Segment;
use super::setting::Setting;

/// On the way through a segment.
pub(crate) struct Walk<'a, 'b, A: Arithmetic> {
    pub(super) arithmetic: A,
    pub(super) setting: Setting<'a>,
    pub(super) segment: Segment<'b, A::Stored>,
    pub(super) ahead: Ahead<'b, A::Stored>,
    /// Whether what is read now comes for the first time, and what comes behind it is to be asked for.
    pub(super) is_asking: bool,
}

impl<'b, A: Arithmetic> Walk<'_, 'b, A> {
    #[inline(always)]
    pub(super) fn ahead(&mut self) -> Option<&mut Ahead<'b, A::Stored>> {
        self.is_asking.then_some(&mut self.ahead)
    }
}
