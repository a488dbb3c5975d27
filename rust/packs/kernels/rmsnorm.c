/* RMSNorm of each row: output = x / sqrt(mean(x^2) + epsilon) * (weight + weight_offset).
 *
 * A: x [rows, columns]. B: weight [columns], f32. Output: [rows, columns]; it may be A itself.
 * Element i of a row is added to partial sum i % partial_sums, and those are then added crosswise: 16, 8 and
 * 4 are what the engine does on AVX-512, AVX2 and NEON, so that the host can have its own bits.
 */
#include "abi.h"
#include "elements.h"

typedef struct {
    uint32_t rows, columns;
    float epsilon, weight_offset;
    uint32_t partial_sums;
} Params;

static inline int is_finite(float value) { return value - value == 0.0f; }

static inline int32_t check_params(const Params *params) {
    int is_width = params->partial_sums == 16 || params->partial_sums == 8 || params->partial_sums == 4;
    if (params->columns == 0 || !is_width) return INVALID_PARAMS;
    if (!is_finite(params->epsilon) || params->epsilon < 0.0f || !is_finite(params->weight_offset))
        return INVALID_PARAMS;
    return KERNEL_OK;
}

/* Vectors of partial sums; as many are used as the host asks for. */
typedef struct {
    v128_t first, second, third, fourth;
} Sums;

/* `count` and `vectors` are constants where this is inlined, so that the sums stay in registers. */
static inline Sums add_squares(const Element *x, uint32_t count, uint32_t vectors, Sums sums) {
    v128_t *second = vectors == 1 ? &sums.first : &sums.second;
    v128_t *third = vectors == 4 ? &sums.third : &sums.first;
    v128_t *fourth = vectors == 4 ? &sums.fourth : second;
    UNROLL
    for (uint32_t part = 0; part < count; part += 4 * LANES) {
        v128_t values[4] = {load(x + part), load(x + part + LANES), load(x + part + 2 * LANES),
                            load(x + part + 3 * LANES)};
        sums.first = multiply_add(values[0], values[0], sums.first);
        *second = multiply_add(values[1], values[1], *second);
        *third = multiply_add(values[2], values[2], *third);
        *fourth = multiply_add(values[3], values[3], *fourth);
    }
    return sums;
}

static inline float square_sum(const Element *row, uint32_t columns, uint32_t vectors) {
    const v128_t zero = wasm_f32x4_const_splat(0.0f);
    Sums sums = {zero, zero, zero, zero};
    uint32_t index = 0;
    for (; index + BLOCKS * BLOCK <= columns; index += BLOCKS * BLOCK) {
        sums = add_squares(row + index, BLOCKS * BLOCK, vectors, sums);
    }
    for (; index + BLOCK <= columns; index += BLOCK) sums = add_squares(row + index, BLOCK, vectors, sums);
    if (index < columns) {
        Element rest[BLOCK];
        pad(row + index, columns - index, rest);
        sums = add_squares(rest, BLOCK, vectors, sums);
    }
    if (vectors == 1) {
        v128_t pairs = wasm_f32x4_add(sums.first, wasm_i32x4_shuffle(sums.first, sums.first, 1, 0, 3, 2));
        return wasm_f32x4_extract_lane(pairs, 0) + wasm_f32x4_extract_lane(pairs, 2);
    }
    if (vectors == 2) return sum(wasm_f32x4_add(sums.first, sums.second));
    v128_t even = wasm_f32x4_add(sums.first, sums.third), odd = wasm_f32x4_add(sums.second, sums.fourth);
    return sum(wasm_f32x4_add(even, odd));
}

static inline float squares_of(const Element *row, const Params *params) {
    if (params->partial_sums == 16) return square_sum(row, params->columns, 4);
    if (params->partial_sums == 8) return square_sum(row, params->columns, 2);
    return square_sum(row, params->columns, 1);
}

static inline void scale(const Element *x, const float *weight, uint32_t count, v128_t factor, v128_t offset,
                         Element *output) {
    UNROLL
    for (uint32_t part = 0; part < count; part += LANES) {
        v128_t weights = wasm_f32x4_add(wasm_v128_load(weight + part), offset);
        store(output + part, wasm_f32x4_mul(wasm_f32x4_mul(load(x + part), factor), weights));
    }
}

static inline void norm_row(const Element *x, const float *weight, const Params *params, Element *output) {
    uint32_t columns = params->columns;
    float mean = squares_of(x, params) / (float)columns;
    v128_t factor = wasm_f32x4_splat(1.0f / __builtin_sqrtf(mean + params->epsilon));
    v128_t offset = wasm_f32x4_splat(params->weight_offset);
    uint32_t index = 0;
    for (; index + BLOCKS * BLOCK <= columns; index += BLOCKS * BLOCK) {
        scale(x + index, weight + index, BLOCKS * BLOCK, factor, offset, output + index);
    }
    for (; index + BLOCK <= columns; index += BLOCK)
        scale(x + index, weight + index, BLOCK, factor, offset, output + index);
    uint32_t rest = columns - index;
    if (rest == 0) return;
    Element values[BLOCK];
    float weights[BLOCK];
    pad(x + index, rest, values);
    for (uint32_t each = 0; each < BLOCK; each++) weights[each] = each < rest ? weight[index + each] : 0.0f;
    scale(values, weights, BLOCK, factor, offset, values);
    for (uint32_t each = 0; each < rest; each++) output[index + each] = values[each];
}

EXPORT("rmsnorm_forward") int32_t rmsnorm_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    uint64_t bytes = times(times(params.rows, params.columns), sizeof(Element));
    PlaneSizes sizes = {bytes, times(params.columns, sizeof(float)), bytes, 0};
    int32_t code = check_planes(descriptor, sizes, OUTPUT_MAY_BE_INPUT_A);
    if (code != KERNEL_OK) return code;
    const Element *x = AT(const Element, descriptor->input_a_offset);
    const float *weight = AT(const float, descriptor->input_b_offset);
    Element *output = AT(Element, descriptor->output_offset);
    for (uint32_t row = 0; row < params.rows; row++) {
        norm_row(x + row * params.columns, weight, &params, output + row * params.columns);
    }
    return KERNEL_OK;
}

KERNEL_EXPORTS(OUTPUT_MAY_BE_INPUT_A)
