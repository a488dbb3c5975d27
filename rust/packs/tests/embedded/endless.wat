;; A kernel that never comes back.
(module
  (memory (export "memory") 1)
  (func (export "kernel_info") (param i32) (result i32)
    (i32.store (local.get 0) (i32.const 1))
    (i32.store offset=4 (local.get 0) (i32.const 32))
    (i32.store offset=12 (local.get 0) (i32.const 16))
    (i32.store offset=16 (local.get 0) (i32.const 1024))
    i32.const 0)
  (func (export "kernel_forward") (param i32) (result i32)
    (loop $again (br $again))
    i32.const 0))
