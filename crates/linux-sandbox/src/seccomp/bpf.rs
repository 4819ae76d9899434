//! The little machine that seccomp(2) runs for each system call: classic BPF. One register, loads from
//! `struct seccomp_data`, forward jumps, and `ret` with the verdict.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use std::collections::HashMap;

/// Where `struct seccomp_data` has the system call's number.
pub(super) const NUMBER: u32 = 0;
/// Where it has the calling convention.
pub(super) const ARCH: u32 = 4;

/// Where it has the low and the high half of an argument; the machine is little-endian.
pub(super) fn argument(index: u32) -> (u32, u32) {
    (16 + 8 * index, 20 + 8 * index)
}

/// One instruction, in the kernel's own layout.
pub(crate) type Instruction = libc::sock_filter;

/// A stretch of instructions. Jumps count from the instruction behind them, so stretches can be joined freely.
#[derive(Debug, Clone, Default)]
pub(super) struct Code(pub(super) Vec<Instruction>);

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

fn verdict(value: u32) -> Instruction {
    instruction(BPF_RET | BPF_K, value, 0, 0)
}

impl Code {
    /// Loads a word of `seccomp_data`.
    pub(super) fn load(mut self, offset: u32) -> Self {
        self.0.push(instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0));
        self
    }

    /// Keeps only the bits of the mask.
    pub(super) fn mask(mut self, bits: u32) -> Self {
        self.0.push(instruction(BPF_ALU | BPF_AND | BPF_K, bits, 0, 0));
        self
    }

    /// The verdict.
    pub(super) fn verdict(mut self, value: u32) -> Self {
        self.0.push(verdict(value));
        self
    }

    /// `yes` when the comparison holds, else `no`; neither comes out at its end.
    pub(super) fn branch(mut self, test: Test, k: u32, yes: &Self, no: &Self) -> Self {
        let code = BPF_JMP | BPF_K | test.code();
        if let Ok(skip) = u8::try_from(no.0.len()) {
            self.0.push(instruction(code, k, skip, 0));
        } else {
            let skip = u32::try_from(no.0.len()).unwrap_or(u32::MAX);
            self.0.extend([instruction(code, k, 0, 1), instruction(BPF_JMP | BPF_JA, skip, 0, 0)]);
        }
        self.0.extend_from_slice(&no.0);
        self.0.extend_from_slice(&yes.0);
        self
    }

    /// A comparison with its two distances.
    pub(super) fn jump(mut self, test: Test, k: u32, yes: u8, no: u8) -> Self {
        self.0.push(instruction(BPF_JMP | BPF_K | test.code(), k, yes, no));
        self
    }

    /// Everything of the other behind this.
    pub(super) fn then(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }
}

/// Code that grows at its front: a jump has to know how far it leads, and nothing is to be copied for that.
#[derive(Debug, Default)]
pub(super) struct FromItsEnd {
    reversed: Vec<Instruction>,
    verdicts: HashMap<u32, Place>,
}

/// Where a jump may lead: so many instructions before the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

/// A verdict that is this near serves the next branch, too: half of a tree would be verdicts otherwise, and the kernel
/// translates each of them.
const NEAR: usize = 200;

impl FromItsEnd {
    fn front(&self) -> Place {
        Place(self.reversed.len())
    }

    /// How many instructions one that is put next would jump over to come there.
    fn distance(&self, to: Place) -> usize {
        self.reversed.len() - to.0
    }

    /// Puts a stretch in front.
    pub(super) fn put(&mut self, code: &Code) -> Place {
        self.reversed.extend(code.0.iter().rev());
        self.front()
    }

    /// Puts a verdict in front, unless it is near.
    pub(super) fn put_verdict(&mut self, value: u32) -> Place {
        let near = self.verdicts.get(&value).copied().filter(|place| self.distance(*place) < NEAR);
        near.unwrap_or_else(|| {
            self.reversed.push(verdict(value));
            self.verdicts.insert(value, self.front());
            self.front()
        })
    }

    /// Puts a branch in front: to `yes` when the comparison holds, else to `no`.
    pub(super) fn put_branch(&mut self, test: Test, k: u32, mut yes: Place, mut no: Place) -> Place {
        // Conditional jumps reach 255 instructions, the unconditional one reaches any. Two of those may come between.
        for to in [&mut yes, &mut no] {
            if self.distance(*to) > usize::from(u8::MAX) - 2 {
                let skip = u32::try_from(self.distance(*to)).unwrap_or(u32::MAX);
                self.reversed.push(instruction(BPF_JMP | BPF_JA, skip, 0, 0));
                *to = self.front();
            }
        }
        let [yes, no] = [yes, no].map(|to| u8::try_from(self.distance(to)).unwrap_or(u8::MAX));
        self.reversed.push(instruction(BPF_JMP | BPF_K | test.code(), k, yes, no));
        self.front()
    }

    /// The whole, as it runs.
    pub(super) fn code(mut self) -> Code {
        self.reversed.reverse();
        Code(self.reversed)
    }
}

/// What a branch compares the register with its constant by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
}

impl Test {
    fn code(self) -> u32 {
        match self {
            Self::Equal => BPF_JEQ,
            Self::Greater => BPF_JGT,
            Self::GreaterOrEqual => BPF_JGE,
        }
    }
}

/// The kernel's machine in twenty lines, to try programs without installing them.
#[cfg(test)]
pub(super) fn interpret(program: &[Instruction], data: &[u32; 16]) -> u32 {
    let (mut at, mut register) = (0, 0);
    loop {
        let now = program[at];
        at += 1;
        let code = u32::from(now.code);
        let jump = |holds: bool| usize::from(if holds { now.jt } else { now.jf });
        match code & 7 {
            BPF_LD => register = data[now.k as usize / 4],
            BPF_ALU => register &= now.k,
            BPF_RET => return now.k,
            BPF_JMP => {
                at += match code & 0xf0 {
                    BPF_JA => now.k as usize,
                    BPF_JEQ => jump(register == now.k),
                    BPF_JGT => jump(register > now.k),
                    BPF_JGE => jump(register >= now.k),
                    other => panic!("jump {other:#x}"),
                }
            }
            other => panic!("class {other}"),
        }
    }
}
