/* f16 <-> f32, four lanes at a time: exact one way, ties to even the other. A NaN stays one. */
#pragma once
#include <wasm_simd128.h>

/* Four halves, in the low bits of four words, as floats. */
static inline v128_t float_of_half(v128_t halves) {
    v128_t magnitude = wasm_v128_and(halves, wasm_i32x4_const_splat(0x7fff));
    v128_t sign = wasm_i32x4_shl(wasm_v128_xor(halves, magnitude), 16);
    /* The half's bits in the float's place are 2^-112 of its value, denormal or not. */
    v128_t value = wasm_f32x4_mul(wasm_i32x4_shl(magnitude, 13), wasm_f32x4_const_splat(0x1p112f));
    v128_t is_special = wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x7bff));
    v128_t exponent = wasm_v128_and(is_special, wasm_i32x4_const_splat(0x7f800000));
    return wasm_v128_or(wasm_v128_or(value, exponent), sign);
}

/* Four floats as halves, in the low bits of four words. */
static inline v128_t half_of_float(v128_t value) {
    v128_t magnitude = wasm_v128_and(value, wasm_i32x4_const_splat(0x7fffffff));
    v128_t sign = wasm_u32x4_shr(wasm_v128_xor(value, magnitude), 16);
    /* Normal: the exponent is biased anew and the 13 lowest bits round, carrying into it; 65520 and more
     * carry to infinity. */
    v128_t odd = wasm_v128_and(wasm_u32x4_shr(magnitude, 13), wasm_i32x4_const_splat(1));
    v128_t biased = wasm_i32x4_add(magnitude, wasm_i32x4_const_splat(0xfff - (112 << 23)));
    v128_t normal = wasm_u32x4_shr(wasm_i32x4_add(biased, odd), 13);
    /* Below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the lowest bits, rounded by the addition. */
    v128_t half = wasm_f32x4_const_splat(0.5f);
    v128_t denormal = wasm_i32x4_sub(wasm_f32x4_add(magnitude, half), half);
    v128_t is_denormal = wasm_i32x4_lt(magnitude, wasm_i32x4_const_splat(113 << 23));
    /* From 2^16 on: infinity, or a quiet NaN. */
    v128_t is_special = wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat((143 << 23) - 1));
    v128_t is_nan = wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x7f800000));
    v128_t special =
        wasm_v128_or(wasm_i32x4_const_splat(0x7c00), wasm_v128_and(is_nan, wasm_i32x4_const_splat(0x200)));
    v128_t result = wasm_v128_bitselect(denormal, normal, is_denormal);
    result = wasm_v128_bitselect(special, result, is_special);
    return wasm_v128_or(result, sign);
}
