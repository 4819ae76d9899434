//! What of /proc and /sys is hidden or read-only: data files with their source.

/// Paths that a container sees empty.
pub fn masked() -> Vec<&'static str> {
    lines(include_str!("../data/masked-paths"))
}

/// Paths that a container cannot write.
pub fn read_only() -> Vec<&'static str> {
    lines(include_str!("../data/readonly-paths"))
}

pub fn lines(data: &'static str) -> Vec<&'static str> {
    data.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lists_are_paths_of_the_two_kernel_file_systems() {
        let all = [super::masked(), super::read_only()].concat();
        assert_eq!(all.len(), 17);
        assert!(all.iter().all(|path| path.starts_with("/proc/") || path.starts_with("/sys/")));
    }
}
