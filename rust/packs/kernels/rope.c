/* Rotary embedding of f32 or f16 heads; see rotate.h.
 *
 * A: x [batch, sequence, heads, head_dim]. B: cosines, then sines, each [sequence, rotary_dims / 2], f32.
 * Output: as A; it may be A itself. A position of the sequence has the same angles in every element of the
 * batch.
 */
#include "rotate.h"

static inline int32_t check_params(const Params *params) { return check_rotation(params); }

static inline void copy_rest(const Element *x, uint32_t begin, uint32_t end, Element *output) {
    if (x == output) return;
    for (; begin + BLOCK <= end; begin += BLOCK) {
        /* As bytes: nothing is converted. */
        UNROLL
        for (uint32_t part = 0; part < BLOCK; part += 16 / sizeof(Element)) {
            wasm_v128_store(output + begin + part, wasm_v128_load(x + begin + part));
        }
    }
    for (; begin < end; begin++) output[begin] = x[begin];
}

static inline void run(uint32_t layout, const Params *params, const Element *x, const float *tables,
                       Element *output) {
    uint32_t half = params->rotary_dims / 2;
    const float *sine_table = tables + params->sequence * half;
    for (uint32_t batch = 0; batch < params->batch; batch++) {
        for (uint32_t position = 0; position < params->sequence; position++) {
            const float *cosines = tables + position * half, *sines = sine_table + position * half;
            for (uint32_t head = 0; head < params->heads; head++) {
                rotate_head(layout, x, half, cosines, sines, output);
                copy_rest(x, params->rotary_dims, params->head_dim, output);
                x += params->head_dim;
                output += params->head_dim;
            }
        }
    }
}

EXPORT("rope_forward") int32_t rope_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    uint64_t bytes = times(count_of(&params), sizeof(Element));
    PlaneSizes sizes = {bytes, table_bytes(&params), bytes, 0};
    int32_t code = check_planes(descriptor, sizes, OUTPUT_MAY_BE_INPUT_A);
    if (code != KERNEL_OK || bytes == 0) return code;
    const Element *x = AT(const Element, descriptor->input_a_offset);
    const float *tables = AT(const float, descriptor->input_b_offset);
    Element *output = AT(Element, descriptor->output_offset);
    if (params.layout == HALVES)
        run(HALVES, &params, x, tables, output);
    else
        run(ADJACENT, &params, x, tables, output);
    return KERNEL_OK;
}

KERNEL_EXPORTS(OUTPUT_MAY_BE_INPUT_A)
