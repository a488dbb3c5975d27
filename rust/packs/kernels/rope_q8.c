/* Rotary embedding of heads in 8-bit blocks: read, turned in f32, and quantized again; see rotate.h.
 *
 * A: x [batch, sequence, heads, head_dim / 32] blocks of 36 bytes: f32 scale, 32 signed bytes. B: cosines,
 * then sines, each [sequence, rotary_dims / 2], f32. Output: as A; it may be A itself. Scratch: one head in
 * f32. Blocks without a turned dimension are copied. A block in which a value is not finite gets the scale
 * NaN.
 */
#include "rotate.h"

typedef struct {
    float scale;
    int8_t values[BLOCK];
} Q8Block;
_Static_assert(sizeof(Q8Block) == 36, "a scale and 32 bytes");

static inline int32_t check_params(const Params *params) {
    return params->head_dim % BLOCK == 0 ? check_rotation(params) : INVALID_PARAMS;
}

static inline void decode(const Q8Block *block, float *values) {
    v128_t scale = wasm_f32x4_splat(block->scale);
    UNROLL
    for (uint32_t part = 0; part < BLOCK; part += 2 * LANES) {
        v128_t words = wasm_i16x8_load8x8(block->values + part);
        v128_t low = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(words));
        v128_t high = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(words));
        wasm_v128_store(values + part, wasm_f32x4_mul(low, scale));
        wasm_v128_store(values + part + LANES, wasm_f32x4_mul(high, scale));
    }
}

/* Whole numbers of one vector, within -127..127, as 32-bit integers; NaN is 0. */
static inline v128_t quants(const float *values, v128_t inverse) {
    v128_t scaled = wasm_f32x4_mul(wasm_v128_load(values), inverse);
    scaled = wasm_f32x4_pmax(scaled, wasm_f32x4_const_splat(-127.0f));
    scaled = wasm_f32x4_pmin(scaled, wasm_f32x4_const_splat(127.0f));
    return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(scaled));
}

static inline void encode(const float *values, Q8Block *block) {
    v128_t highest = wasm_f32x4_const_splat(0.0f);
    UNROLL
    for (uint32_t part = 0; part < BLOCK; part += LANES) {
        highest = wasm_f32x4_max(highest, wasm_f32x4_abs(wasm_v128_load(values + part)));
    }
    highest = wasm_f32x4_max(highest, wasm_i32x4_shuffle(highest, highest, 2, 3, 0, 1));
    highest = wasm_f32x4_max(highest, wasm_i32x4_shuffle(highest, highest, 1, 0, 3, 2));
    float largest = wasm_f32x4_extract_lane(highest, 0);
    int is_finite = largest - largest == 0.0f;
    block->scale = is_finite ? largest / 127.0f : __builtin_nanf("");
    v128_t inverse = wasm_f32x4_splat(is_finite && largest > 0.0f ? 127.0f / largest : 0.0f);
    UNROLL
    for (uint32_t part = 0; part < BLOCK; part += 4 * LANES) {
        v128_t low =
            wasm_i16x8_narrow_i32x4(quants(values + part, inverse), quants(values + part + LANES, inverse));
        v128_t high = wasm_i16x8_narrow_i32x4(quants(values + part + 2 * LANES, inverse),
                                              quants(values + part + 3 * LANES, inverse));
        wasm_v128_store(block->values + part, wasm_i8x16_narrow_i16x8(low, high));
    }
}

static inline void run(const Params *params, const Q8Block *x, const float *tables, float *head_values,
                       Q8Block *output) {
    uint32_t half = params->rotary_dims / 2, blocks = params->head_dim / BLOCK;
    uint32_t turned_blocks = (params->rotary_dims + BLOCK - 1) / BLOCK;
    uint32_t rows = params->batch * params->sequence;
    for (uint32_t row = 0; row < rows; row++) {
        const float *cosines = tables + row % params->sequence * half;
        const float *sines = cosines + params->sequence * half;
        for (uint32_t head = 0; head < params->heads; head++, x += blocks, output += blocks) {
            for (uint32_t block = 0; block < turned_blocks; block++)
                decode(x + block, head_values + block * BLOCK);
            if (params->layout == HALVES)
                rotate_head(HALVES, head_values, half, cosines, sines, head_values);
            else
                rotate_head(ADJACENT, head_values, half, cosines, sines, head_values);
            for (uint32_t block = 0; block < turned_blocks; block++)
                encode(head_values + block * BLOCK, output + block);
            for (uint32_t block = turned_blocks; block < blocks; block++) output[block] = x[block];
        }
    }
}

EXPORT("rope_forward") int32_t rope_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    uint64_t bytes = times(count_of(&params) / BLOCK, sizeof(Q8Block));
    PlaneSizes sizes = {bytes, table_bytes(&params), bytes, times(params.head_dim, sizeof(float))};
    int32_t code = check_planes(descriptor, sizes, OUTPUT_MAY_BE_INPUT_A);
    if (code != KERNEL_OK || bytes == 0) return code;
    run(&params, AT(const Q8Block, descriptor->input_a_offset), AT(const float, descriptor->input_b_offset),
        AT(float, descriptor->scratch_offset), AT(Q8Block, descriptor->output_offset));
    return KERNEL_OK;
}

KERNEL_EXPORTS(OUTPUT_MAY_BE_INPUT_A)
