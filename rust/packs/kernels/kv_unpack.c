/* Unpacks keys or values from groups of 32; see kv_group.h. step * code is exact in f32, so each value is
 * rounded once.
 *
 * A: groups [tokens, ceil(channels / 32)] along channels, or [ceil(tokens / 32), channels] along tokens. B:
 * unused. Output: x [tokens, channels], f32.
 */
#include "kv_group.h"

static inline v128_t value_of(v128_t codes, v128_t step, v128_t minimum) {
    return wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(codes), step), minimum);
}

static inline void unpack_sixteen(v128_t codes, v128_t step, v128_t minimum, float *values) {
    v128_t low = wasm_u16x8_extend_low_u8x16(codes), high = wasm_u16x8_extend_high_u8x16(codes);
    wasm_v128_store(values, value_of(wasm_u32x4_extend_low_u16x8(low), step, minimum));
    wasm_v128_store(values + 4, value_of(wasm_u32x4_extend_high_u16x8(low), step, minimum));
    wasm_v128_store(values + 8, value_of(wasm_u32x4_extend_low_u16x8(high), step, minimum));
    wasm_v128_store(values + 12, value_of(wasm_u32x4_extend_high_u16x8(high), step, minimum));
}

static inline void unpack_group(const Group *group, float *values) {
    v128_t params = float_of_half(wasm_i32x4_make(group->step, group->minimum, 0, 0));
    v128_t step = wasm_i32x4_shuffle(params, params, 0, 0, 0, 0),
           minimum = wasm_i32x4_shuffle(params, params, 1, 1, 1, 1);
    v128_t codes = wasm_v128_load(group->codes);
#if BITS == 4
    unpack_sixteen(wasm_v128_and(codes, wasm_i8x16_const_splat(15)), step, minimum, values);
    unpack_sixteen(wasm_u8x16_shr(codes, 4), step, minimum, values + 16);
#else
    unpack_sixteen(codes, step, minimum, values);
    unpack_sixteen(wasm_v128_load(group->codes + 16), step, minimum, values + 16);
#endif
}

static inline void unpack_tokens_each(const Params *params, const Group *group, float *x) {
    for (uint32_t token = 0; token < params->tokens; token++, x += params->channels) {
        uint32_t channel = 0;
        for (; channel + BLOCK <= params->channels; channel += BLOCK) unpack_group(group++, x + channel);
        if (channel == params->channels) continue;
        float rest[BLOCK];
        unpack_group(group++, rest);
        for (uint32_t each = 0; channel + each < params->channels; each++) x[channel + each] = rest[each];
    }
}

/* Four blocks side by side as four channels of up to 32 tokens. */
static inline void scatter(const float columns[4][BLOCK], uint32_t channels, uint32_t tokens, float *x) {
    for (uint32_t token = 0; token < tokens; token += 4) {
        v128_t rows[4];
        UNROLL
        for (uint32_t each = 0; each < 4; each++) rows[each] = wasm_v128_load(columns[each] + token);
        transpose(rows);
        UNROLL
        for (uint32_t each = 0; each < 4; each++) {
            if (token + each < tokens) wasm_v128_store(x + (token + each) * channels, rows[each]);
        }
    }
}

static inline void unpack_channels_each(const Params *params, const Group *group, float *x) {
    uint32_t channels = params->channels;
    for (uint32_t begin = 0; begin < params->tokens; begin += BLOCK, x += BLOCK * channels) {
        uint32_t tokens = smaller(params->tokens - begin, BLOCK), channel = 0;
        for (; channel + 4 <= channels; channel += 4) {
            float columns[4][BLOCK];
            for (uint32_t each = 0; each < 4; each++) unpack_group(group++, columns[each]);
            scatter(columns, channels, tokens, x + channel);
        }
        for (; channel < channels; channel++) {
            float column[BLOCK];
            unpack_group(group++, column);
            for (uint32_t token = 0; token < tokens; token++) x[token * channels + channel] = column[token];
        }
    }
}

EXPORT("kv_unpack_forward") int32_t kv_unpack_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    PlaneSizes sizes = {packed_bytes(&params), 0, float_bytes(&params), 0};
    int32_t code = check_planes(descriptor, sizes, 0);
    if (code != KERNEL_OK) return code;
    const Group *groups = AT(const Group, descriptor->input_a_offset);
    float *x = AT(float, descriptor->output_offset);
    if (params.axis == ALONG_CHANNELS)
        unpack_tokens_each(&params, groups, x);
    else
        unpack_channels_each(&params, groups, x);
    return KERNEL_OK;
}

KERNEL_EXPORTS(0)
