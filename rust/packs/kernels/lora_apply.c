/* Adds what a low-rank adapter says: y += scale * (x A^T) B^T.
 *
 * A: x [tokens, inputs], f32. B: the adapter's A [rank, inputs] and, at once behind it, its B [outputs,
 * rank], both f32 or (with -DHALF) f16. Output: y [tokens, outputs], f32; it is read and added to. Scratch: a
 * token's x A^T, in f32, of `rank` rounded up to 4 values.
 */
#include "abi.h"
#include "elements.h"

typedef struct {
    uint32_t tokens, inputs, rank, outputs;
    float scale;
} Params;

static inline int32_t check_params(const Params *params) {
    int is_finite = params->scale - params->scale == 0.0f;
    return params->inputs != 0 && params->rank != 0 && params->outputs != 0 && is_finite ? KERNEL_OK
                                                                                         : INVALID_PARAMS;
}

static inline void add_products(const Element *weights, const float *x, v128_t sums[8]) {
    UNROLL
    for (uint32_t part = 0; part < BLOCK / LANES; part++) {
        sums[part] = multiply_add(load(weights + part * LANES), wasm_v128_load(x + part * LANES), sums[part]);
    }
}

static inline float dot(const Element *weights, const float *x, uint32_t count) {
    v128_t sums[BLOCK / LANES] = {0};
    uint32_t index = 0;
    for (; index + BLOCK <= count; index += BLOCK) add_products(weights + index, x + index, sums);
    uint32_t rest = count - index;
    if (rest != 0) {
        Element last_weights[BLOCK];
        float last[BLOCK];
        pad(weights + index, rest, last_weights);
        for (uint32_t each = 0; each < BLOCK; each++) last[each] = each < rest ? x[index + each] : 0.0f;
        add_products(last_weights, last, sums);
    }
    UNROLL
    for (uint32_t width = BLOCK / LANES / 2; width > 0; width /= 2) {
        UNROLL
        for (uint32_t part = 0; part < width; part++)
            sums[part] = wasm_f32x4_add(sums[part], sums[part + width]);
    }
    return sum(sums[0]);
}

static inline v128_t load_some(const Element *source, uint32_t count) {
    Element lanes[LANES] = {0};
    for (uint32_t index = 0; index < count; index++) lanes[index] = source[index];
    return load(lanes);
}

/* What four rows of the adapter's B add. `reduced` is zero from `rank` to the next multiple of four. */
static inline v128_t four_outputs(const Element *b, const float *reduced, uint32_t rank) {
    v128_t sums[4] = {0};
    uint32_t index = 0;
    for (; index + 2 * LANES <= rank; index += 2 * LANES) {
        v128_t low = wasm_v128_load(reduced + index), high = wasm_v128_load(reduced + index + LANES);
        UNROLL
        for (uint32_t row = 0; row < 4; row++) {
            sums[row] = multiply_add(load(b + row * rank + index), low, sums[row]);
            sums[row] = multiply_add(load(b + row * rank + index + LANES), high, sums[row]);
        }
    }
    for (; index < rank; index += LANES) {
        v128_t last = wasm_v128_load(reduced + index);
        uint32_t count = rank - index;
        UNROLL
        for (uint32_t row = 0; row < 4; row++) {
            const Element *weights = b + row * rank + index;
            sums[row] =
                multiply_add(count >= LANES ? load(weights) : load_some(weights, count), last, sums[row]);
        }
    }
    return sum_each(sums[0], sums[1], sums[2], sums[3]);
}

static inline float one_output(const Element *b, const float *reduced, uint32_t rank) {
    v128_t sums = wasm_f32x4_const_splat(0.0f);
    for (uint32_t index = 0; index < rank; index += LANES) {
        uint32_t count = rank - index;
        v128_t weights = count >= LANES ? load(b + index) : load_some(b + index, count);
        sums = multiply_add(weights, wasm_v128_load(reduced + index), sums);
    }
    return sum(sums);
}

static inline void apply(const Params *params, const float *x, const Element *a, float *reduced, float *y) {
    uint32_t rank = params->rank, output = 0;
    const Element *b = a + rank * params->inputs;
    for (uint32_t row = 0; row < rank; row++)
        reduced[row] = params->scale * dot(a + row * params->inputs, x, params->inputs);
    for (uint32_t row = rank; row % LANES != 0; row++) reduced[row] = 0.0f;
    for (; output + 4 <= params->outputs; output += 4, b += 4 * rank) {
        v128_t added = four_outputs(b, reduced, rank);
        wasm_v128_store(y + output, wasm_f32x4_add(wasm_v128_load(y + output), added));
    }
    for (; output < params->outputs; output++, b += rank) y[output] += one_output(b, reduced, rank);
}

EXPORT("lora_apply_forward") int32_t lora_apply_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    uint64_t weights = times(params.rank, params.inputs) + times(params.rank, params.outputs);
    PlaneSizes sizes = {
        times(times(params.tokens, params.inputs), sizeof(float)),
        times(weights, sizeof(Element)),
        times(times(params.tokens, params.outputs), sizeof(float)),
        times(((uint64_t)params.rank + LANES - 1) / LANES, LANES * sizeof(float)),
    };
    int32_t code = check_planes(descriptor, sizes, OUTPUT_IS_READ);
    if (code != KERNEL_OK) return code;
    const float *x = AT(const float, descriptor->input_a_offset);
    const Element *a = AT(const Element, descriptor->input_b_offset);
    float *y = AT(float, descriptor->output_offset);
    float *reduced = AT(float, descriptor->scratch_offset);
    for (uint32_t token = 0; token < params.tokens; token++, x += params.inputs, y += params.outputs) {
        apply(&params, x, a, reduced, y);
    }
    return KERNEL_OK;
}

KERNEL_EXPORTS(OUTPUT_IS_READ)
