/* Packs f32 keys or values into groups of 32; see kv_group.h.
 *
 * A: x [tokens, channels]. B: unused. Output: groups [tokens, ceil(channels / 32)] along channels, or
 * [ceil(tokens / 32), channels] along tokens. A group in which a value, or the range, does not fit f16 or is
 * not a number gets NaN for step and minimum, so that it reads as NaN.
 */
#include "kv_group.h"

#define LEVELS ((1 << BITS) - 1)
#define HALF_NAN 0x7e00

/* The least and the most of four lanes; NaN is looked for elsewhere. */
static inline float lowest(v128_t a) {
    a = wasm_f32x4_pmin(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(wasm_f32x4_pmin(a, wasm_i32x4_shuffle(a, a, 1, 0, 3, 2)), 0);
}

static inline float highest(v128_t a) {
    a = wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 1, 0, 3, 2)), 0);
}

/* Four codes as 32-bit integers. Adding 2^23 rounds, ties to even, and leaves the integer in the lowest bits.
 */
static inline v128_t codes_of(const float *values, v128_t minimum, v128_t inverse) {
    v128_t scaled = wasm_f32x4_mul(wasm_f32x4_sub(wasm_v128_load(values), minimum), inverse);
    scaled = wasm_f32x4_pmin(wasm_f32x4_const_splat(LEVELS),
                             wasm_f32x4_pmax(wasm_f32x4_const_splat(0.0f), scaled));
    return wasm_v128_and(wasm_f32x4_add(scaled, wasm_f32x4_const_splat(8388608.0f)),
                         wasm_i32x4_const_splat(LEVELS));
}

static inline v128_t sixteen_codes(const float *values, v128_t minimum, v128_t inverse, uint32_t count) {
    v128_t low =
        wasm_u16x8_narrow_i32x4(codes_of(values, minimum, inverse), codes_of(values + 4, minimum, inverse));
    v128_t high = wasm_u16x8_narrow_i32x4(codes_of(values + 8, minimum, inverse),
                                          codes_of(values + 12, minimum, inverse));
    v128_t index = wasm_i8x16_const(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return wasm_v128_and(wasm_u8x16_narrow_i16x8(low, high),
                         wasm_i8x16_lt(index, wasm_i8x16_splat((int8_t)count)));
}

/* `values` are a whole block, of which the first `count`, at least one, are packed. */
static inline void pack_group(const float *values, uint32_t count, Group *group) {
    v128_t least = wasm_v128_load(values), most = least;
    /* x - x has no bit set but for infinities and NaN. */
    v128_t special = wasm_f32x4_const_splat(0.0f);
    UNROLL
    for (uint32_t part = 0; part < BLOCK; part += LANES) {
        v128_t value = wasm_v128_load(values + part);
        least = wasm_f32x4_pmin(least, value);
        most = wasm_f32x4_pmax(most, value);
        special = wasm_v128_or(special, wasm_f32x4_sub(value, value));
    }
    float smallest = lowest(least);
    float step = (highest(most) - smallest) / LEVELS;
    v128_t halves = half_of_float(wasm_f32x4_make(step, smallest, 0.0f, 0.0f));
    /* Codes are counted from what is stored, so that its rounding costs nothing more. */
    v128_t stored = float_of_half(halves);
    float stored_step = wasm_f32x4_extract_lane(stored, 0);
    int is_number = !wasm_v128_any_true(wasm_v128_or(special, wasm_f32x4_sub(stored, stored)));
    v128_t minimum = wasm_i32x4_shuffle(stored, stored, 1, 1, 1, 1);
    v128_t inverse = wasm_f32x4_splat(stored_step > 0.0f ? 1.0f / stored_step : 0.0f);
    if (!is_number) count = 0;
    v128_t first = sixteen_codes(values, minimum, inverse, smaller(count, 16));
    v128_t second = sixteen_codes(values + 16, minimum, inverse, count > 16 ? count - 16 : 0);
    group->step = is_number ? (uint16_t)wasm_i32x4_extract_lane(halves, 0) : HALF_NAN;
    group->minimum = is_number ? (uint16_t)wasm_i32x4_extract_lane(halves, 1) : HALF_NAN;
#if BITS == 4
    wasm_v128_store(group->codes, wasm_v128_or(first, wasm_i8x16_shl(second, 4)));
#else
    wasm_v128_store(group->codes, first);
    wasm_v128_store(group->codes + 16, second);
#endif
}

/* The tail of a row: what is missing is the first value again, which changes neither minimum nor range. */
static inline void pack_rest(const float *values, uint32_t count, Group *group) {
    float block[BLOCK];
    for (uint32_t index = 0; index < BLOCK; index++) block[index] = values[index < count ? index : 0];
    pack_group(block, count, group);
}

static inline void pack_tokens_each(const Params *params, const float *x, Group *group) {
    for (uint32_t token = 0; token < params->tokens; token++, x += params->channels) {
        uint32_t channel = 0;
        for (; channel + BLOCK <= params->channels; channel += BLOCK) pack_group(x + channel, BLOCK, group++);
        if (channel < params->channels) pack_rest(x + channel, params->channels - channel, group++);
    }
}

/* Four channels of up to 32 tokens as four blocks side by side. */
static inline void gather(const float *x, uint32_t channels, uint32_t tokens, float columns[4][BLOCK]) {
    for (uint32_t token = 0; token < BLOCK; token += 4) {
        v128_t rows[4];
        UNROLL
        for (uint32_t each = 0; each < 4; each++) {
            uint32_t present = token + each < tokens ? token + each : 0;
            rows[each] = wasm_v128_load(x + present * channels);
        }
        transpose(rows);
        UNROLL
        for (uint32_t each = 0; each < 4; each++) wasm_v128_store(columns[each] + token, rows[each]);
    }
}

static inline void pack_channels_each(const Params *params, const float *x, Group *group) {
    uint32_t channels = params->channels;
    for (uint32_t begin = 0; begin < params->tokens; begin += BLOCK, x += BLOCK * channels) {
        uint32_t tokens = smaller(params->tokens - begin, BLOCK), channel = 0;
        for (; channel + 4 <= channels; channel += 4) {
            float columns[4][BLOCK];
            gather(x + channel, channels, tokens, columns);
            for (uint32_t each = 0; each < 4; each++) pack_group(columns[each], tokens, group++);
        }
        for (; channel < channels; channel++) {
            float column[BLOCK];
            for (uint32_t token = 0; token < BLOCK; token++)
                column[token] = x[(token < tokens ? token : 0) * channels + channel];
            pack_group(column, tokens, group++);
        }
    }
}

EXPORT("kv_pack_forward") int32_t kv_pack_forward(uint32_t descriptor_address) {
    READ_CALL(descriptor_address, descriptor, params)
    PlaneSizes sizes = {float_bytes(&params), 0, packed_bytes(&params), 0};
    int32_t code = check_planes(descriptor, sizes, 0);
    if (code != KERNEL_OK) return code;
    const float *x = AT(const float, descriptor->input_a_offset);
    Group *groups = AT(Group, descriptor->output_offset);
    if (params.axis == ALONG_CHANNELS)
        pack_tokens_each(&params, x, groups);
    else
        pack_channels_each(&params, x, groups);
    return KERNEL_OK;
}

KERNEL_EXPORTS(0)
