//! Version 2 has no list of devices: a program that the kernel runs at each open and mknod decides (bpf(2), program
//! type `BPF_PROG_TYPE_CGROUP_DEVICE`). Rules are those of version 1, in order; the last that matches decides, so
//! the program looks at them from the end.

use crate::error::{Call, Error, Result};
use crate::sys;
use rustix::fd::OwnedFd;

/// One instruction of the extended machine: opcode, destination, source, offset, constant.
type Line = (u8, u8, u8, i16, i32);

const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_NOT: u8 = 0x56;
const JUMP_IF: u8 = 0x16;
const EXIT: u8 = 0x95;

// Registers.
const RESULT: u8 = 0;
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Every access.
const ALL: i32 = 7;

/// Attaches the rules to a cgroup.
pub(super) fn attach(group: &OwnedFd, rules: &[(bool, String)]) -> Result<()> {
    let program = sys::bpf_device_program(&program(rules)?).call(|| "bpf(BPF_PROG_LOAD, devices)".into())?;
    sys::bpf_attach_device(group, &program).call(|| "bpf(BPF_PROG_ATTACH, devices)".into())
}

fn program(rules: &[(bool, String)]) -> Result<Vec<u64>> {
    let mut lines: Vec<Line> = vec![
        (LOAD, KIND, SCRATCH, 0, 0),
        (LOAD, MAJOR, SCRATCH, 4, 0),
        (LOAD, MINOR, SCRATCH, 8, 0),
        (MOVE, ACCESS, KIND, 0, 0),
        (AND, KIND, 0, 0, 0xffff),
        (SHIFT_RIGHT, ACCESS, 0, 0, 16),
    ];
    let mut decided = false;
    for (allow, text) in rules.iter().rev() {
        let tests = tests(*allow, text).ok_or_else(|| Error::refused(format!("cgroup: {text:?}: no device rule")))?;
        decided = tests.is_empty();
        // The distance behind a test leads behind the verdict.
        let count = tests.len();
        for (at, mut line) in tests.into_iter().enumerate() {
            if matches!(line.0, JUMP_IF | JUMP_IF_NOT) {
                line.3 = i16::try_from(count - at + 1).unwrap_or(i16::MAX);
            }
            lines.push(line);
        }
        lines.extend(verdict(*allow));
        if decided {
            break;
        }
    }
    if !decided {
        lines.extend(verdict(false));
    }
    Ok(lines.into_iter().map(encode).collect())
}

fn verdict(allow: bool) -> [Line; 2] {
    [(SET, RESULT, 0, 0, allow.into()), (EXIT, 0, 0, 0, 0)]
}

/// What must hold for `c 1:3 rwm` to match. An allowance covers what it names only; a refusal hits every access of
/// which it names a part.
fn tests(allow: bool, text: &str) -> Option<Vec<Line>> {
    let mut words = text.split(' ');
    let (kind, numbers, letters) = (words.next()?, words.next()?, words.next()?);
    let mut lines = Vec::new();
    match kind {
        "a" => {}
        "b" => lines.push((JUMP_IF_NOT, KIND, 0, 0, 1)),
        "c" => lines.push((JUMP_IF_NOT, KIND, 0, 0, 2)),
        _ => return None,
    }
    let (major, minor) = numbers.split_once(':')?;
    for (register, number) in [(MAJOR, major), (MINOR, minor)] {
        if number != "*" {
            lines.push((JUMP_IF_NOT, register, 0, 0, number.parse::<u32>().ok()?.cast_signed()));
        }
    }
    let mut access = 0;
    for letter in letters.chars() {
        access |= match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => return None,
        };
    }
    if access != ALL {
        let (bits, jump) = if allow { (ALL & !access, JUMP_IF_NOT) } else { (access, JUMP_IF) };
        lines.extend([(MOVE, SCRATCH, ACCESS, 0, 0), (AND, SCRATCH, 0, 0, bits), (jump, SCRATCH, 0, 0, 0)]);
    }
    Some(lines)
}

fn encode((opcode, destination, source, offset, constant): Line) -> u64 {
    u64::from(opcode)
        | u64::from(destination | source << 4) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(constant.cast_unsigned()) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the machine that these programs use.
    fn ask(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [kind | access << 16, major, minor];
        let (mut registers, mut at) = ([0_u32; 6], 0);
        loop {
            let line = program[at];
            at += 1;
            let constant = u32::try_from(line >> 32).unwrap();
            let (to, from) = ((line >> 8 & 15) as usize, (line >> 12 & 15) as usize);
            let offset = (line >> 16 & 0xffff) as usize;
            match u8::try_from(line & 0xff).unwrap() {
                LOAD => registers[to] = context[offset / 4],
                MOVE => registers[to] = registers[from],
                SET => registers[to] = constant,
                AND => registers[to] &= constant,
                SHIFT_RIGHT => registers[to] >>= constant,
                JUMP_IF => at += if registers[to] == constant { offset } else { 0 },
                JUMP_IF_NOT => at += if registers[to] == constant { 0 } else { offset },
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules =
            [(false, "a *:* rwm"), (true, "c *:* m"), (true, "c 1:3 rwm"), (true, "b 8:* r"), (false, "c 1:3 w")];
        let rules: Vec<(bool, String)> = rules.map(|(allow, text)| (allow, text.to_owned())).into();
        let program = program(&rules).unwrap();
        let (m, r, w) = (1, 2, 4);
        for (kind, access, major, minor, want) in [
            (2, r, 1, 3, true),
            (2, r | m, 1, 3, true),
            (2, w, 1, 3, false),
            (2, r | w, 1, 3, false),
            (2, m, 9, 9, true),
            (2, m | r, 9, 9, false),
            (1, r, 8, 77, true),
            (1, r | w, 8, 77, false),
            (1, m, 9, 9, false),
            (2, r, 1, 5, false),
        ] {
            assert_eq!(ask(&program, kind, access, major, minor), want, "{kind} {access} {major}:{minor}");
        }
        assert!(super::program(&[(true, "x 1:3 r".into())]).is_err());
        assert!(!ask(&super::program(&[]).unwrap(), 2, r, 1, 3));
        assert!(ask(&super::program(&[(true, "a *:* rwm".into())]).unwrap(), 1, ALL.cast_unsigned(), 7, 7));
    }
}
