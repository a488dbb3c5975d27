//! Test vectors for the kernels that the forward pass does not call, and what may come out; see [`crate::serve::formulas`].
//!
//! Bytes go in and come out as the binary interface says. A format's own rounding is allowed for on top of what
//! arithmetic in f32 differs by.

mod packed;
mod rows;
mod trial;

pub(crate) use trial::{ABSOLUTE, RELATIVE, Trial, numbers};
use trial::{FLOATS, HALVES};

/// The trials of a kernel; none for those of the forward pass, which are compared with native ones.
pub(crate) fn of(kernel_id: &str) -> Vec<Trial> {
    match kernel_id {
        "rope_f16" => rows::ropes_of_halves(),
        "rope_q8" => rows::ropes_of_blocks(),
        "rmsnorm_f16" => rows::rms_norms(),
        "swiglu_f16" => rows::gates(),
        "kv_pack_q4" => packed::kv_packs(4),
        "kv_pack_q8" => packed::kv_packs(8),
        "kv_unpack_q4" => packed::kv_unpacks(4),
        "kv_unpack_q8" => packed::kv_unpacks(8),
        "lora_apply_f32" => packed::adapters(&FLOATS),
        "lora_apply_f16" => packed::adapters(&HALVES),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::serve::counters::Operation;
    use crate::verify::manifest::KERNEL_IDS;

    #[test]
    fn every_kernel_is_tried() {
        let forward = Operation::IN_FORWARD_PASS.map(|operation| operation.kernel_ids()[0]);
        for (id, _) in KERNEL_IDS {
            assert_ne!(forward.contains(&id), super::of(id).len() >= 3, "{id}");
        }
    }
}
