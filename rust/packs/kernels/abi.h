/* The call between host and kernel: descriptor, return codes, checks. README.md is its page.
 *
 * A kernel trusts nothing it is handed: every address, size and count is checked against the memory and
 * against the parameters before a tensor is touched. It keeps no state from call to call.
 *
 * A source includes this file, defines `Params` and `check_params`, and ends with `KERNEL_EXPORTS(flags)`.
 */
#pragma once
#include <stdint.h>

#define ABI_VERSION 1u
/* Every address that a host passes is a multiple of it, or belongs to an empty range. */
#define ALIGNMENT 16u

enum {
    KERNEL_OK = 0,
    INVALID_INPUT = 1,
    INVALID_OUTPUT = 2,
    INVALID_PARAMS = 3,
    OUT_OF_MEMORY = 4,
    NOT_IMPLEMENTED = 5,
    INTERNAL_ERROR = 6,
};

/* Flags of `KernelInfo`. */
enum {
    OUTPUT_MAY_BE_INPUT_A = 1,
    OUTPUT_IS_READ = 2,
};

typedef struct {
    uint32_t input_a_offset, input_a_size;
    uint32_t input_b_offset, input_b_size;
    uint32_t output_offset, output_size;
    uint32_t scratch_offset, scratch_size;
    uint32_t params_offset, params_size;
} KernelDescriptor;
_Static_assert(sizeof(KernelDescriptor) == 40, "ten words");

typedef struct {
    uint32_t abi_version, info_size, params_size, alignment, heap_base, flags, reserved[2];
} KernelInfo;
_Static_assert(sizeof(KernelInfo) == 32, "eight words");

/* What the parameters say the planes must hold, in bytes; the scratch may be larger. */
typedef struct {
    uint64_t input_a, input_b, output, scratch;
} PlaneSizes;

extern unsigned char __heap_base;

#define EXPORT(name) __attribute__((export_name(name)))
#define AT(type, offset) ((type *)(uintptr_t)(offset))

static inline uint32_t heap_base(void) { return (uint32_t)(uintptr_t)&__heap_base; }

/* A product of sizes; 2^32, which is no size of anything, stands for all that is larger. */
static inline uint64_t times(uint64_t a, uint64_t b) {
    const uint64_t limit = 1ull << 32;
    uint64_t product = (a < limit ? a : limit) * (b < limit ? b : limit - 1);
    return product < limit ? product : limit;
}

/* Whether the host may use these bytes: aligned, behind the module's own stack, inside the memory. */
static inline int is_range(uint32_t offset, uint32_t size) {
    uint64_t memory = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    return size == 0 ||
           (offset % ALIGNMENT == 0 && offset >= heap_base() && (uint64_t)offset + size <= memory);
}

static inline int overlap(uint32_t a, uint32_t a_size, uint32_t b, uint32_t b_size) {
    return a_size != 0 && b_size != 0 && a < (uint64_t)b + b_size && b < (uint64_t)a + a_size;
}

/* The planes against what the parameters ask for. Inputs may share bytes; what is written stands alone,
 * but that the output may be exactly input A where the kernel's flags say so. */
static inline int32_t check_planes(const KernelDescriptor *d, PlaneSizes wanted, uint32_t flags) {
    if (d->input_a_size != wanted.input_a || !is_range(d->input_a_offset, d->input_a_size))
        return INVALID_INPUT;
    if (d->input_b_size != wanted.input_b || !is_range(d->input_b_offset, d->input_b_size))
        return INVALID_INPUT;
    if (d->output_size != wanted.output || !is_range(d->output_offset, d->output_size)) return INVALID_OUTPUT;
    int in_place = (flags & OUTPUT_MAY_BE_INPUT_A) && d->output_offset == d->input_a_offset &&
                   d->output_size == d->input_a_size;
    if (!in_place && overlap(d->output_offset, d->output_size, d->input_a_offset, d->input_a_size))
        return INVALID_OUTPUT;
    if (overlap(d->output_offset, d->output_size, d->input_b_offset, d->input_b_size)) return INVALID_OUTPUT;
    if (wanted.scratch == 0) return KERNEL_OK;
    if (d->scratch_size < wanted.scratch || !is_range(d->scratch_offset, d->scratch_size) ||
        overlap(d->scratch_offset, d->scratch_size, d->input_a_offset, d->input_a_size) ||
        overlap(d->scratch_offset, d->scratch_size, d->input_b_offset, d->input_b_size) ||
        overlap(d->scratch_offset, d->scratch_size, d->output_offset, d->output_size))
        return OUT_OF_MEMORY;
    return KERNEL_OK;
}

/* The descriptor and its parameters, if both can be read and the parameters pass `check_params`. Callers copy
 * what they need of them before they write. */
#define READ_CALL(descriptor_address, descriptor, params)                                                  \
    if (!is_range(descriptor_address, sizeof(KernelDescriptor))) return INVALID_PARAMS;                    \
    const KernelDescriptor *descriptor = AT(const KernelDescriptor, descriptor_address);                   \
    if (descriptor->params_size != sizeof(Params) || !is_range(descriptor->params_offset, sizeof(Params))) \
        return INVALID_PARAMS;                                                                             \
    const Params params = *AT(const Params, descriptor->params_offset);                                    \
    {                                                                                                      \
        int32_t code = check_params(&params);                                                              \
        if (code != KERNEL_OK) return code;                                                                \
    }

/* The three functions that are the same in every kernel of this pack. */
#define KERNEL_EXPORTS(kernel_flags)                                                                        \
    EXPORT("kernel_init") int32_t kernel_init(uint32_t params_address, uint32_t params_size) {              \
        if (params_size == 0) return KERNEL_OK;                                                             \
        if (params_size != sizeof(Params) || !is_range(params_address, params_size)) return INVALID_PARAMS; \
        return check_params(AT(const Params, params_address));                                              \
    }                                                                                                       \
    EXPORT("kernel_info") int32_t kernel_info(uint32_t info_address) {                                      \
        if (!is_range(info_address, sizeof(KernelInfo))) return INVALID_OUTPUT;                             \
        KernelInfo *info = AT(KernelInfo, info_address);                                                    \
        info->abi_version = ABI_VERSION;                                                                    \
        info->info_size = sizeof(KernelInfo);                                                               \
        info->params_size = sizeof(Params);                                                                 \
        info->alignment = ALIGNMENT;                                                                        \
        info->heap_base = heap_base();                                                                      \
        info->flags = (kernel_flags);                                                                       \
        info->reserved[0] = info->reserved[1] = 0;                                                          \
        return KERNEL_OK;                                                                                   \
    }                                                                                                       \
    EXPORT("kernel_cleanup") int32_t kernel_cleanup(void) { return KERNEL_OK; }
