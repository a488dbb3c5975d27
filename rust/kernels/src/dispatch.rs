//! The one place that chooses an implementation.

use std::sync::Arc;

use crate::kernels::{Kernels, Scalar};

/// Every implementation that this machine can run, the best first.
pub fn available() -> Vec<Arc<dyn Kernels>> {
    let mut found: Vec<Arc<dyn Kernels>> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use crate::native::x86::{
            Avx2Kernels, Avx2VnniKernels, Avx512BaseKernels, Avx512Kernels, Sse42Kernels,
        };
        found.extend(Avx512Kernels::new().map(shared));
        // Half as wide, but a product of bytes is one instruction instead of three.
        found.extend(Avx2VnniKernels::new().map(shared));
        found.extend(Avx512BaseKernels::new().map(shared));
        found.extend(Avx2Kernels::new().map(shared));
        found.extend(Sse42Kernels::new().map(shared));
    }
    #[cfg(target_arch = "aarch64")]
    {
        use crate::native::aarch64::{NeonDotprodKernels, NeonI8mmKernels, NeonKernels};
        found.extend(NeonI8mmKernels::new().map(shared));
        found.extend(NeonDotprodKernels::new().map(shared));
        found.push(shared(NeonKernels::new()));
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    found.push(shared(crate::native::PortableKernels::new()));
    found.push(shared(Scalar));
    found
}

fn shared(kernels: impl Kernels + 'static) -> Arc<dyn Kernels> {
    Arc::new(kernels)
}

/// The best implementation of this machine.
pub fn best() -> Arc<dyn Kernels> {
    available()
        .into_iter()
        .next()
        .unwrap_or_else(|| Arc::new(Scalar))
}

/// The implementation of that name, or the names that there are.
pub fn named(name: &str) -> Result<Arc<dyn Kernels>, Vec<&'static str>> {
    let found = available();
    match found.iter().find(|kernels| kernels.name() == name) {
        Some(kernels) => Ok(Arc::clone(kernels)),
        None => Err(found.iter().map(|kernels| kernels.name()).collect()),
    }
}
