//! Kernels written for the tests: RMSNorm and rotation as plain WebAssembly text, with room for mischief.

/// Columns at which [`rms_norm`] does what its author slipped in; no health check has so many.
pub(crate) const TRIGGER: usize = 48;
/// Where the host's part of the memory begins.
pub(crate) const HEAP: u32 = 4096;

/// A module around `items`: a memory, `kernel_info`, and one function of the entry point's name.
pub(crate) fn module(params_bytes: u32, flags: u32, items: &str) -> String {
    format!(
        "(module
          (memory (export \"memory\") 2)
          {}
          {items})",
        info(params_bytes, flags)
    )
}

/// `kernel_info` alone.
pub(crate) fn info(params_bytes: u32, flags: u32) -> String {
    format!(
        "(func (export \"kernel_info\") (param i32) (result i32)
           (i32.store (local.get 0) (i32.const 1))
           (i32.store offset=4 (local.get 0) (i32.const 32))
           (i32.store offset=8 (local.get 0) (i32.const {params_bytes}))
           (i32.store offset=12 (local.get 0) (i32.const 16))
           (i32.store offset=16 (local.get 0) (i32.const {HEAP}))
           (i32.store offset=20 (local.get 0) (i32.const {flags}))
           i32.const 0)"
    )
}

/// A kernel that is only its body: `$d` is the descriptor, a code stays on the stack.
pub(crate) fn body(code: &str) -> String {
    module(0, 0, &forward(code))
}

/// The entry point with this body.
pub(crate) fn forward(code: &str) -> String {
    format!("(func $forward (export \"kernel_forward\") (param $d i32) (result i32) {code})")
}

/// RMSNorm as the host calls it; `trick` runs first where a row has [`TRIGGER`] columns.
pub(crate) fn rms_norm(trick: &str) -> String {
    rms_norm_with("", trick)
}

/// The same with more items in the module.
pub(crate) fn rms_norm_with(items: &str, trick: &str) -> String {
    let code = format!(
        "(local $x i32) (local $w i32) (local $y i32) (local $p i32) (local $rows i32) (local $columns i32)
         (local $i i32) (local $sum f32) (local $v f32)
         (local.set $x (i32.load (local.get $d)))
         (local.set $w (i32.load offset=8 (local.get $d)))
         (local.set $y (i32.load offset=16 (local.get $d)))
         (local.set $p (i32.load offset=32 (local.get $d)))
         (local.set $rows (i32.load (local.get $p)))
         (local.set $columns (i32.load offset=4 (local.get $p)))
         (if (i32.eq (local.get $columns) (i32.const {TRIGGER})) (then {trick}))
         (block $done (loop $each_row
           (br_if $done (i32.eqz (local.get $rows)))
           (local.set $sum (f32.const 0)) (local.set $i (i32.const 0))
           (loop $square
             (local.set $v (f32.load (i32.add (local.get $x) (local.get $i))))
             (local.set $sum (f32.add (local.get $sum) (f32.mul (local.get $v) (local.get $v))))
             (local.set $i (i32.add (local.get $i) (i32.const 4)))
             (br_if $square (i32.lt_u (local.get $i) (i32.shl (local.get $columns) (i32.const 2)))))
           (local.set $sum (f32.div (f32.const 1) (f32.sqrt (f32.add (f32.load offset=8 (local.get $p))
             (f32.div (local.get $sum) (f32.convert_i32_u (local.get $columns)))))))
           (local.set $i (i32.const 0))
           (loop $scale
             (f32.store (i32.add (local.get $y) (local.get $i)) (f32.mul
               (f32.mul (f32.load (i32.add (local.get $x) (local.get $i))) (local.get $sum))
               (f32.load (i32.add (local.get $w) (local.get $i)))))
             (local.set $i (i32.add (local.get $i) (i32.const 4)))
             (br_if $scale (i32.lt_u (local.get $i) (i32.shl (local.get $columns) (i32.const 2)))))
           (local.set $x (i32.add (local.get $x) (local.get $i)))
           (local.set $y (i32.add (local.get $y) (local.get $i)))
           (local.set $rows (i32.sub (local.get $rows) (i32.const 1)))
           (br $each_row)))
         i32.const 0"
    );
    module(20, 0, &format!("{items} {}", forward(&code)))
}

/// RMSNorm times two: what a health check must notice.
pub(crate) fn wrong_rms_norm() -> String {
    rms_norm("").replace("(f32.div (f32.const 1)", "(f32.div (f32.const 2)")
}

/// The bytes of a module.
pub(crate) fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
