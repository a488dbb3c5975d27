//! What the system says of this process's memory.

/// Resident bytes now and at their highest; 0 where the system does not tell.
pub fn process_memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    (field(&status, "VmRSS:"), field(&status, "VmHWM:"))
}

/// The bytes of a line such as `VmRSS:     1234 kB`.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_line_of_kilobytes_is_read() {
        let status = "VmHWM:\t  20 kB\nVmRSS:\t  12 kB\n";
        assert_eq!(field(status, "VmRSS:"), 12 * 1024);
        assert_eq!(field(status, "VmSwap:"), 0);
    }
}
