/* The element type of the activations, f32 or (with -DHALF) f16: loaded to and stored from four f32 lanes.
 *
 * Arithmetic is always f32. Loops work on BLOCK elements from one back-edge to the next, because the host's
 * interruption check stands there. What is left of a row goes through a padded block.
 */
#pragma once
#include "half.h"

#define BLOCK 32u
/* Blocks at once in loops that hardly compute. */
#ifdef HALF
#define BLOCKS 1u
#else
#define BLOCKS 4u
#endif
#define LANES 4u
#define UNROLL _Pragma("clang loop unroll(full)")

#ifdef HALF
typedef uint16_t Element;

static inline v128_t load(const Element *source) { return float_of_half(wasm_u32x4_load16x4(source)); }

static inline void store(Element *target, v128_t value) {
    v128_t words = half_of_float(value);
    wasm_v128_store64_lane(target, wasm_u16x8_narrow_i32x4(words, words), 0);
}
#else
typedef float Element;

static inline v128_t load(const Element *source) { return wasm_v128_load(source); }
static inline void store(Element *target, v128_t value) { wasm_v128_store(target, value); }
#endif

/* a * b + c; rounded once where the processor has such an instruction, as the engine's own kernels are. */
static inline v128_t multiply_add(v128_t a, v128_t b, v128_t c) { return wasm_f32x4_relaxed_madd(a, b, c); }

/* `count` elements, and zeros up to a block. */
static inline void pad(const Element *source, uint32_t count, Element *block) {
    for (uint32_t index = 0; index < BLOCK; index++) block[index] = index < count ? source[index] : 0;
}

/* The four sums of four vectors' lanes; each is (0 + 2) + (1 + 3). */
static inline v128_t sum_each(v128_t a, v128_t b, v128_t c, v128_t d) {
    v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7));
    v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 1, 4, 5), wasm_i32x4_shuffle(c, d, 2, 3, 6, 7));
    return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 2, 4, 6), wasm_i32x4_shuffle(ab, cd, 1, 3, 5, 7));
}

static inline float sum(v128_t a) {
    v128_t two = wasm_f32x4_add(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1);
}
