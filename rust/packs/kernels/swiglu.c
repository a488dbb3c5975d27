/* output = activation(gate) * up, element by element: SwiGLU with SiLU, GeGLU with GELU's tanh form.
 *
 * A: gate. B: up. Output: as long as they are; it may be A itself.
 */
#include "abi.h"
#include "exp.h"

enum { SILU = 0, GELU_TANH = 1 };

typedef struct {
    uint32_t elements, activation;
} Params;

static inline int32_t check_params(const Params *params) {
    return params->activation <= GELU_TANH ? KERNEL_OK : INVALID_PARAMS;
}

static inline v128_t activate(uint32_t activation, v128_t gate) {
    if (activation == SILU) return wasm_f32x4_mul(gate, logistic(gate));
    /* tanh(u) = 2 logistic(2u) - 1, so x/2 (1 + tanh(u)) is x logistic(2u). */
    v128_t square = wasm_f32x4_mul(gate, gate);
    v128_t inner = multiply_add(square, wasm_f32x4_const_splat(0.044715f), wasm_f32x4_const_splat(1.0f));
    v128_t doubled = wasm_f32x4_mul(wasm_f32x4_mul(gate, inner), wasm_f32x4_const_splat(2.0f * 0.7978846f));
    return wasm_f32x4_mul(gate, logistic(doubled));
}

static inline void gate_block(uint32_t activation, const Element *gate, const Element *up, Element *output) {
    UNROLL
    for (uint32_t part = 0; part < BLOCK; part += LANES) {
        store(output + part, wasm_f32x4_mul(activate(activation, load(gate + part)), load(up + part)));
    }
}

static inline void run(uint32_t activation, uint32_t elements, const Element *gate, const Element *up,
                       Element *output) {
    uint32_t index = 0;
    for (; index + BLOCK <= elements; index += BLOCK)
        gate_block(activation, gate + index, up + index, output + index);
    uint32_t rest = elements - index;
    if (rest == 0) return;
    Element gates[BLOCK], ups[BLOCK];
    pad(gate + index, rest, gates);
    pad(up + index, rest, ups);
    gate_block(activation, gates, ups, gates);
    for (uint32_t each = 0; each < rest; each++) output[index + each] = gates[each];
}

EXPORT("swiglu_forward") int32_t swiglu_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    uint64_t bytes = times(params.elements, sizeof(Element));
    int32_t code = check_planes(descriptor, (PlaneSizes){bytes, bytes, bytes, 0}, OUTPUT_MAY_BE_INPUT_A);
    if (code != KERNEL_OK) return code;
    const Element *gate = AT(const Element, descriptor->input_a_offset);
    const Element *up = AT(const Element, descriptor->input_b_offset);
    Element *output = AT(Element, descriptor->output_offset);
    if (params.activation == SILU)
        run(SILU, params.elements, gate, up, output);
    else
        run(GELU_TANH, params.elements, gate, up, output);
    return KERNEL_OK;
}

KERNEL_EXPORTS(OUTPUT_MAY_BE_INPUT_A)
