//! Which instructions this machine's kernels use.

/// A set of vector instructions, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// The next, and products of whole tiles (AMX).
    Amx,
    /// The next, and products of bf16 pairs and of bytes (BF16, VNNI).
    Avx512Bf16,
    /// 512-bit vectors with fused multiply-add.
    Avx512,
    /// 256-bit vectors with fused multiply-add and half-precision loads.
    Avx2,
    /// Whatever the compiler makes of arrays; rounds twice where the others round once.
    Portable,
}

impl Isa {
    /// All that this machine has, best first.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f");
            let bf16 = avx512
                && is_x86_feature_detected!("avx512bf16")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512bw");
            let each = [(Isa::Amx, bf16 && amx()), (Isa::Avx512Bf16, bf16), (Isa::Avx512, avx512), (Isa::Avx2, avx2)];
            found.extend(each.into_iter().filter(|(_, there)| *there).map(|(isa, _)| isa));
        }
        found.push(Isa::Portable);
        found
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Isa::Amx => "AMX",
            Isa::Avx512Bf16 => "AVX-512 with BF16 and VNNI",
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Portable => "no vector instructions of its own",
        }
    }
}

/// Whether the processor has tiles of bf16 and bytes, and the operating system lets us use them.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
fn amx() -> bool {
    const BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const REQUEST_PERMISSION: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    let has_leaf = std::arch::x86_64::__cpuid(0).eax >= 7;
    let has = has_leaf && std::arch::x86_64::__cpuid_count(7, 0).edx & BF16_TILE_INT8 == BF16_TILE_INT8;
    // SAFETY: asks for a permission of the whole process; touches no memory.
    has && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(all(target_os = "linux", not(miri)))))]
fn amx() -> bool {
    false
}
