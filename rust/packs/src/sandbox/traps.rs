//! Traps and return codes to [`KernelError`].

use wasmtime::Trap;

use crate::error::KernelError;

/// Codes of traps that have no error of their own begin here, behind all that kernels return.
const FIRST_TRAP_CODE: u32 = 0x1000;

/// The error of a call that did not return.
pub(crate) fn of_call(error: &wasmtime::Error) -> KernelError {
    match error.downcast_ref::<Trap>() {
        Some(trap) => of_trap(*trap),
        None => KernelError::Instance {
            reason: format!("{error:#}"),
        },
    }
}

fn of_trap(trap: Trap) -> KernelError {
    match trap {
        Trap::Interrupt => KernelError::EpochDeadline,
        // Wasmtime keeps the place to itself.
        Trap::MemoryOutOfBounds => KernelError::MemoryAccessViolation {
            offset: None,
            size: None,
        },
        Trap::IntegerOverflow => KernelError::IntegerOverflow,
        Trap::IntegerDivisionByZero => KernelError::IntegerDivisionByZero,
        Trap::BadConversionToInteger => KernelError::BadConversion,
        Trap::UnreachableCodeReached => KernelError::Unreachable,
        Trap::StackOverflow => KernelError::StackOverflow,
        Trap::BadSignature | Trap::IndirectCallToNull | Trap::TableOutOfBounds => {
            KernelError::IndirectCallTypeMismatch
        }
        other => KernelError::KernelTrap {
            code: FIRST_TRAP_CODE + other as u32,
            message: Some(other.to_string()),
        },
    }
}

/// The error of a code that is not 0.
pub(crate) fn of_code(code: i32) -> KernelError {
    let message = match code {
        1 => Some("INVALID_INPUT"),
        2 => Some("INVALID_OUTPUT"),
        3 => Some("INVALID_PARAMS"),
        4 => Some("OUT_OF_MEMORY"),
        5 => Some("NOT_IMPLEMENTED"),
        6 => Some("INTERNAL_ERROR"),
        _ => None,
    };
    KernelError::KernelTrap {
        code: code as u32,
        message: message.map(str::to_owned),
    }
}
