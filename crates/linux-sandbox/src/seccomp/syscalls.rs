//! Names of system calls and their numbers: a data file with its source.

use super::Arch;

const TABLE: &str = include_str!("../../data/syscalls");

/// Every system call of one architecture that this program knows, by name.
#[derive(Debug)]
pub(super) struct Names {
    lines: Vec<(&'static str, &'static str)>,
    column: usize,
}

impl Names {
    pub(super) fn of(arch: Arch) -> Option<Self> {
        let column = match arch {
            Arch::X86_64 => 0,
            Arch::X86 => 1,
            Arch::X32 => 2,
            Arch::Aarch64 => 3,
            Arch::Other(_) => return None,
        };
        // Sorted by name, as the test below asserts.
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
        Some(Self { lines: lines.collect(), column })
    }

    /// `None`: no such call on this architecture, or one that is newer than the table.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let position = self.lines.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        self.lines[position].1.split(' ').nth(self.column)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_right_where_libc_knows() {
        let native = Names::of(Arch::X86_64).unwrap();
        assert!(native.lines.is_sorted_by(|a, b| a.0 < b.0));
        let number = |arch, name| Names::of(arch).unwrap().number(name);
        #[cfg(target_arch = "x86_64")]
        for (name, value) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("seccomp", libc::SYS_seccomp),
            ("mseal", 462),
            ("file_setattr", 469),
        ] {
            assert_eq!(number(Arch::X86_64, name).map(i64::from), Some(value), "{name}");
        }
        assert_eq!(number(Arch::X86, "socketcall"), Some(102));
        assert_eq!(number(Arch::X86_64, "socketcall"), None);
        assert_eq!(number(Arch::X32, "execve"), Some(520));
        assert_eq!(number(Arch::Aarch64, "openat"), Some(56));
        assert_eq!(number(Arch::X86_64, "no_such_call"), None);
        assert!(Names::of(Arch::Other("SCMP_ARCH_S390X")).is_none());
    }
}
