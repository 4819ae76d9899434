//! Names of system calls and their numbers: a data file with its source.

use super::Arch;

const TABLE: &str = include_str!("../../data/syscalls");

/// A line of the table: where in it the name is, and the numbers of that call, one for each architecture.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
    numbers: Numbers,
}

/// The numbers of one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers([Option<u16>; 4]);

/// Sorted by name, as the test below asserts. Read by the compiler: a container that starts has no time for it.
static LINES: [Line; parse(&mut [])] = {
    let mut lines = [Line { start: 0, end: 0, numbers: Numbers([None; 4]) }; parse(&mut [])];
    parse(&mut lines);
    lines
};

/// Fills in as many lines as there is room for, and says how many there are.
const fn parse(lines: &mut [Line]) -> usize {
    let text = TABLE.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        let start = at;
        let (mut end, mut numbers, mut column) = (at, [None; 4], 0);
        while text[at] != b'\n' {
            match text[at] {
                _ if text[start] == b'#' => {}
                b' ' => {
                    if column == 0 {
                        end = at;
                    }
                    column += 1;
                }
                digit @ b'0'..=b'9' if column > 0 => {
                    let tens = match numbers[column - 1] {
                        Some(number) => 10 * number,
                        None => 0,
                    };
                    numbers[column - 1] = Some(tens + (digit - b'0') as u16);
                }
                _ => {}
            }
            at += 1;
        }
        at += 1;
        if text[start] != b'#' {
            if count < lines.len() {
                lines[count] = Line { start, end, numbers: Numbers(numbers) };
            }
            count += 1;
        }
    }
    count
}

impl Numbers {
    /// `None`: a call that is newer than the table.
    pub(super) fn of(name: &str) -> Option<Self> {
        let position = LINES.binary_search_by(|line| TABLE[line.start..line.end].cmp(name)).ok()?;
        Some(LINES[position].numbers)
    }

    /// `None`: no such call on this architecture.
    pub(super) fn on(self, arch: Arch) -> Option<u32> {
        let column = match arch {
            Arch::X86_64 => 0,
            Arch::X86 => 1,
            Arch::X32 => 2,
            Arch::Aarch64 => 3,
            Arch::Other(_) => return None,
        };
        self.0[column].map(u32::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_right_where_libc_knows() {
        assert!(LINES.is_sorted_by(|a, b| TABLE[a.start..a.end] < TABLE[b.start..b.end]));
        let number = |arch, name| Numbers::of(name)?.on(arch);
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
        assert_eq!(number(Arch::Other("SCMP_ARCH_S390X"), "read"), None);
    }
}
