/* Rotary embedding of one head, and the parameters that the three kernels share.
 *
 * A pair (x, y) becomes (x cos - y sin, y cos + x sin). With HALVES, dimension i is paired with i + n/2, as
 * in the engine; with ADJACENT, 2i with 2i + 1. Dimensions from `rotary_dims` on stay as they are.
 */
#pragma once
#include "abi.h"
#include "elements.h"

enum { HALVES = 0, ADJACENT = 1 };
/* Pairs from one back-edge to the next. */
#define PAIRS (BLOCKS > 1 ? BLOCK : BLOCK / 2)

typedef struct {
    uint32_t batch, sequence, heads, head_dim, rotary_dims, layout;
} Params;

static inline int32_t check_rotation(const Params *params) {
    int fits = params->rotary_dims <= params->head_dim && params->rotary_dims % 2 == 0;
    return params->head_dim != 0 && fits && params->layout <= ADJACENT ? KERNEL_OK : INVALID_PARAMS;
}

static inline uint64_t count_of(const Params *params) {
    return times(times(times(params->batch, params->sequence), params->heads), params->head_dim);
}

/* Cosines [sequence, rotary_dims / 2], then as many sines; both f32. */
static inline uint64_t table_bytes(const Params *params) {
    return times(times(params->sequence, params->rotary_dims), sizeof(float));
}

typedef struct {
    v128_t x, y;
} Pairs;

static inline Pairs turn(Pairs pairs, v128_t cosine, v128_t sine) {
    v128_t turned = wasm_f32x4_sub(wasm_f32x4_mul(pairs.x, cosine), wasm_f32x4_mul(pairs.y, sine));
    return (Pairs){turned, multiply_add(pairs.y, cosine, wasm_f32x4_mul(pairs.x, sine))};
}

/* Four pairs from index `pair` on; `half` is the number of pairs. */
static inline void turn_four(uint32_t layout, const Element *x, uint32_t pair, uint32_t half, v128_t cosine,
                             v128_t sine, Element *output) {
    if (layout == HALVES) {
        Pairs turned = turn((Pairs){load(x + pair), load(x + half + pair)}, cosine, sine);
        store(output + pair, turned.x);
        store(output + half + pair, turned.y);
        return;
    }
    v128_t a = load(x + 2 * pair), b = load(x + 2 * pair + LANES);
    Pairs pairs = {wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7)};
    Pairs turned = turn(pairs, cosine, sine);
    store(output + 2 * pair, wasm_i32x4_shuffle(turned.x, turned.y, 0, 4, 1, 5));
    store(output + 2 * pair + LANES, wasm_i32x4_shuffle(turned.x, turned.y, 2, 6, 3, 7));
}

/* The last pairs of a head, fewer than four, through copies as adjacent pairs. */
static inline void turn_rest(uint32_t layout, const Element *x, uint32_t pair, uint32_t half,
                             const float *cosines, const float *sines, Element *output) {
    Element pairs[2 * LANES] = {0};
    float cosine[LANES] = {0}, sine[LANES] = {0};
    uint32_t step = layout == HALVES ? 1 : 2, other = layout == HALVES ? half : 1, rest = half - pair;
    for (uint32_t each = 0; each < rest; each++) {
        pairs[2 * each] = x[(pair + each) * step];
        pairs[2 * each + 1] = x[(pair + each) * step + other];
        cosine[each] = cosines[pair + each];
        sine[each] = sines[pair + each];
    }
    turn_four(ADJACENT, pairs, 0, LANES, wasm_v128_load(cosine), wasm_v128_load(sine), pairs);
    for (uint32_t each = 0; each < rest; each++) {
        output[(pair + each) * step] = pairs[2 * each];
        output[(pair + each) * step + other] = pairs[2 * each + 1];
    }
}

static inline void rotate_head(uint32_t layout, const Element *x, uint32_t half, const float *cosines,
                               const float *sines, Element *output) {
    uint32_t pair = 0;
    for (; pair + PAIRS <= half; pair += PAIRS) {
        UNROLL
        for (uint32_t part = 0; part < PAIRS; part += LANES) {
            v128_t cosine = wasm_v128_load(cosines + pair + part), sine = wasm_v128_load(sines + pair + part);
            turn_four(layout, x, pair + part, half, cosine, sine, output);
        }
    }
    for (; pair + LANES <= half; pair += LANES) {
        turn_four(layout, x, pair, half, wasm_v128_load(cosines + pair), wasm_v128_load(sines + pair),
                  output);
    }
    if (pair < half) turn_rest(layout, x, pair, half, cosines, sines, output);
}
