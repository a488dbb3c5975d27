/* The groups in which keys and values are packed, and the parameters of packing and unpacking.
 *
 * Asymmetric, as in KIVI: value = step * code + minimum, with step and minimum in f16 and BITS bits a code. A
 * group is 32 values of one token (values are packed so), or of one channel over 32 tokens (keys). The last
 * group of an axis may hold fewer; the rest of its codes are 0. The 4-bit group is GGML's block Q4_1.
 */
#pragma once
#include "abi.h"
#include "elements.h"

enum { ALONG_CHANNELS = 0, ALONG_TOKENS = 1 };

typedef struct {
    uint32_t tokens, channels, axis, group;
} Params;

typedef struct {
    uint16_t step, minimum;
    uint8_t codes[BLOCK * BITS / 8];
} Group;
_Static_assert(sizeof(Group) == 4 + 4 * BITS, "two halves and the codes");

static inline int32_t check_params(const Params *params) {
    if (params->channels == 0 || params->axis > ALONG_TOKENS) return INVALID_PARAMS;
    return params->group == BLOCK ? KERNEL_OK : NOT_IMPLEMENTED;
}

static inline uint64_t float_bytes(const Params *params) {
    return times(times(params->tokens, params->channels), sizeof(float));
}

static inline uint64_t packed_bytes(const Params *params) {
    uint64_t tokens = params->tokens, channels = params->channels;
    if (params->axis == ALONG_TOKENS)
        tokens = (tokens + BLOCK - 1) / BLOCK;
    else
        channels = (channels + BLOCK - 1) / BLOCK;
    return times(times(tokens, channels), sizeof(Group));
}

static inline uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Four vectors as the rows of a square become its columns. */
static inline void transpose(v128_t rows[4]) {
    v128_t a = wasm_i32x4_shuffle(rows[0], rows[1], 0, 4, 1, 5),
           b = wasm_i32x4_shuffle(rows[2], rows[3], 0, 4, 1, 5);
    v128_t c = wasm_i32x4_shuffle(rows[0], rows[1], 2, 6, 3, 7),
           d = wasm_i32x4_shuffle(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = wasm_i32x4_shuffle(a, b, 0, 1, 4, 5);
    rows[1] = wasm_i32x4_shuffle(a, b, 2, 3, 6, 7);
    rows[2] = wasm_i32x4_shuffle(c, d, 0, 1, 4, 5);
    rows[3] = wasm_i32x4_shuffle(c, d, 2, 3, 6, 7);
}
