/* e^x and the logistic function, four lanes at a time; the same steps as the engine's, so the same bits where
 * `multiply_add` rounds once. */
#pragma once
#include "elements.h"

/* 0 below -87 and for NaN, e^88 above 88; relative error under 2e-7 between. */
static inline v128_t exponential(v128_t x) {
    const v128_t lowest = wasm_f32x4_const_splat(-87.0f);
    v128_t clamped = wasm_f32x4_pmin(wasm_f32x4_const_splat(88.0f), wasm_f32x4_pmax(lowest, x));
    v128_t exponent =
        wasm_f32x4_nearest(wasm_f32x4_mul(clamped, wasm_f32x4_const_splat(1.44269504088896341f)));
    v128_t rest = multiply_add(exponent, wasm_f32x4_const_splat(-0.6933594f), clamped);
    rest = multiply_add(exponent, wasm_f32x4_const_splat(2.1219444e-4f), rest);
    v128_t polynomial = wasm_f32x4_const_splat(1.9875691e-4f);
    polynomial = multiply_add(polynomial, rest, wasm_f32x4_const_splat(1.3982e-3f));
    polynomial = multiply_add(polynomial, rest, wasm_f32x4_const_splat(8.333452e-3f));
    polynomial = multiply_add(polynomial, rest, wasm_f32x4_const_splat(4.1665796e-2f));
    polynomial = multiply_add(polynomial, rest, wasm_f32x4_const_splat(1.6666666e-1f));
    polynomial = multiply_add(polynomial, rest, wasm_f32x4_const_splat(0.5f));
    v128_t line = wasm_f32x4_add(rest, wasm_f32x4_const_splat(1.0f));
    polynomial = multiply_add(wasm_f32x4_mul(rest, rest), polynomial, line);
    /* 2^exponent: after adding 1.5 * 2^23 + 127 the lowest bits are the float's exponent field. */
    v128_t power = wasm_i32x4_shl(wasm_f32x4_add(exponent, wasm_f32x4_const_splat(12583039.0f)), 23);
    return wasm_v128_and(wasm_f32x4_ge(x, lowest), wasm_f32x4_mul(polynomial, power));
}

/* 1 / (1 + e^-x) */
static inline v128_t logistic(v128_t x) {
    const v128_t one = wasm_f32x4_const_splat(1.0f);
    return wasm_f32x4_div(one,
                          wasm_f32x4_add(one, exponential(wasm_f32x4_sub(wasm_f32x4_const_splat(0.0f), x))));
}
