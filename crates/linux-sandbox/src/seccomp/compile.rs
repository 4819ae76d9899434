//! A profile becomes a program. The kernel runs the program once for every number when it is installed, and for
//! calls whose arguments matter each time; so the numbers are found by a **tree** of comparisons, not by a list:
//! nine steps instead of four hundred.

use super::bpf::{ARCH, Code, FromItsEnd, Instruction, NUMBER, Place, Test, argument};
use super::profile::{Action, Arch, Compare, Condition, Profile, Rule};
use crate::error::Error;
use std::collections::BTreeMap;

/// What the kernel takes (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: usize = 4096;
/// Set in the numbers of x32.
const X32_BIT: u32 = 0x4000_0000;

/// The program.
pub(super) fn compile(profile: &Profile) -> Result<Vec<Instruction>, Error> {
    let mut by_audit: BTreeMap<u32, Vec<Arch>> = BTreeMap::new();
    for arch in architectures(profile) {
        if let Some(audit) = arch.audit() {
            by_audit.entry(audit).or_default().push(arch);
        }
    }
    let foreign = Code::default().verdict(Action::KILL_PROCESS.0);
    let program = by_audit.iter().fold(foreign, |rest, (audit, archs)| {
        let is_32_bit = archs.iter().any(|arch| arch.is_32_bit());
        let of_this = tree(&numbers(profile, archs), &|leaf, code| match leaf {
            Leaf::Always(verdict) => code.put_verdict(*verdict),
            Leaf::Depends(rules) => code.put(&conditional(rules, profile.default.0, is_32_bit)),
        });
        let of_this = Code::default().load(NUMBER).then(&of_this);
        Code::default().branch(Test::Equal, *audit, &of_this, &rest)
    });
    let program = Code::default().load(ARCH).then(&program).0;
    if program.len() > MOST_INSTRUCTIONS {
        return Err(Error::refused(format!(
            "seccomp: the rules need {} instructions, and the kernel takes {MOST_INSTRUCTIONS}",
            program.len()
        )));
    }
    Ok(program)
}

/// The machine's own convention always, then those of the profile.
pub(super) fn architectures(profile: &Profile) -> Vec<Arch> {
    let mut all: Vec<Arch> = Arch::native().into_iter().chain(profile.architectures.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What becomes of a call, or of one argument.
#[derive(Debug, PartialEq, Eq)]
enum Leaf {
    Always(u32),
    Depends(Vec<(Vec<Condition>, u32)>),
}

/// The ranges of numbers: the first of each, and what is done up to the next.
fn numbers(profile: &Profile, archs: &[Arch]) -> Vec<(u32, Leaf)> {
    let otherwise = profile.default.0;
    let mut ranges = Vec::new();
    for arch in archs {
        let first = if *arch == Arch::X32 { X32_BIT } else { 0 };
        let leaves = leaves(profile, *arch);
        let is_empty = leaves.is_empty();
        let mut next = first;
        for (number, leaf) in leaves {
            if first + number > next {
                ranges.push((next, Leaf::Always(otherwise)));
            }
            ranges.push((first + number, leaf));
            next = first + number + 1;
        }
        // A program that tries a call which is newer than the profile must hear "no such call": it then takes
        // the older one. EPERM would make it give up. So runc does, and so the C libraries expect it.
        let newer = if is_empty || profile.default.lets_through() { otherwise } else { Action::NO_SUCH_CALL.0 };
        ranges.push((next, Leaf::Always(newer)));
    }
    if archs == [Arch::X86_64] {
        ranges.push((X32_BIT, Leaf::Always(Action::KILL_PROCESS.0)));
    }
    if archs.contains(&Arch::X86_64) {
        // -1 is what a tracer makes of a call that shall not happen.
        ranges.push((u32::MAX, Leaf::Always(otherwise)));
    }
    ranges.sort_by_key(|(start, _)| *start);
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// What the rules say of each number that they are about, by number. Rules that say what happens anyhow are left out, as
/// runc does.
fn leaves(profile: &Profile, arch: Arch) -> Vec<(u32, Leaf)> {
    let mut hits: Vec<(u32, usize)> = Vec::with_capacity(512);
    for (index, rule) in profile.rules.iter().enumerate().filter(|(_, rule)| rule.action != profile.default) {
        hits.extend(rule.calls.iter().filter_map(|call| call.on(arch)).map(|number| (number, index)));
    }
    // Of one number, the rules stay in their order.
    hits.sort_unstable();
    let of_one = |hits: &[(u32, usize)]| (hits[0].0, leaf(hits.iter().map(|(_, index)| &profile.rules[*index])));
    hits.chunk_by(|a, b| a.0 == b.0).map(of_one).collect()
}

fn leaf<'a>(mut rules: impl Iterator<Item = &'a Rule> + Clone) -> Leaf {
    if let Some(always) = rules.clone().find(|rule| rule.conditions.is_empty()) {
        return Leaf::Always(always.action.0);
    }
    Leaf::Depends(rules.by_ref().fold(Vec::new(), |mut list, rule| {
        if same_argument_twice(&rule.conditions) {
            list.extend(rule.conditions.iter().map(|one| (vec![*one], rule.action.0)));
        } else {
            list.push((rule.conditions.clone(), rule.action.0));
        }
        list
    }))
}

fn same_argument_twice(conditions: &[Condition]) -> bool {
    let mut seen = 0_u64;
    conditions.iter().any(|one| {
        let again = seen & 1 << one.index != 0;
        seen |= 1 << one.index;
        again
    })
}

/// Half of the ranges on each side, down to one, whose code is put.
fn tree<T>(ranges: &[(u32, T)], put: &impl Fn(&T, &mut FromItsEnd) -> Place) -> Code {
    fn grow<T>(
        ranges: &[(u32, T)],
        put: &impl Fn(&T, &mut FromItsEnd) -> Place,
        code: &mut FromItsEnd,
    ) -> Option<Place> {
        if let [(_, only)] = ranges {
            return Some(put(only, code));
        }
        let (below, from) = ranges.split_at(ranges.len() / 2);
        let start = from.first()?.0;
        let (from, below) = (grow(from, put, code)?, grow(below, put, code)?);
        Some(code.put_branch(Test::GreaterOrEqual, start, from, below))
    }
    let mut code = FromItsEnd::default();
    grow(ranges, put, &mut code);
    code.code()
}

fn conditional(rules: &[(Vec<Condition>, u32)], otherwise: u32, is_32_bit: bool) -> Code {
    by_ranges(rules, otherwise, is_32_bit).unwrap_or_else(|| {
        let list = rules.iter().fold(Code::default(), |code, (conditions, verdict)| {
            code.then(&rule_code(conditions, *verdict, is_32_bit))
        });
        list.verdict(otherwise)
    })
}

/// The first value above all that fit into the low half of an argument.
const HIGH: u64 = 1 << 32;

/// Where every rule compares one and the same argument with small numbers, as docker's for socket(2), the
/// argument goes through a tree, too.
fn by_ranges(rules: &[(Vec<Condition>, u32)], otherwise: u32, is_32_bit: bool) -> Option<Code> {
    let [first, ..] = rules.first()?.0[..] else { return None };
    let single = |conditions: &[Condition]| match conditions {
        [one] if one.index == first.index && one.value < HIGH => interval(one).map(|(from, to)| (*one, from, to)),
        _ => None,
    };
    let intervals = rules.iter().map(|(conditions, _)| single(conditions)).collect::<Option<Vec<_>>>()?;
    let mut starts: Vec<u64> =
        intervals.iter().flat_map(|(_, from, to)| [*from, to.saturating_add(1)]).chain([0, HIGH]).collect();
    starts.retain(|start| *start <= HIGH);
    starts.sort_unstable();
    let verdict = |value: u64| {
        let hit = intervals.iter().position(|(_, from, to)| (*from..=*to).contains(&value));
        hit.map_or(otherwise, |hit| rules[hit].1)
    };
    let mut ranges: Vec<(u32, u32)> =
        starts.iter().filter_map(|start| Some((u32::try_from(*start).ok()?, verdict(*start)))).collect();
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    let (low, high) = argument(first.index);
    let low = Code::default().load(low).then(&tree(&ranges, &|verdict, code| code.put_verdict(*verdict)));
    if is_32_bit {
        return Some(low);
    }
    Some(Code::default().load(high).branch(Test::Equal, 0, &low, &Code::default().verdict(verdict(HIGH))))
}

/// The values for which a comparison holds, when they are in one piece that is not empty.
fn interval(condition: &Condition) -> Option<(u64, u64)> {
    let value = condition.value;
    match condition.compare {
        Compare::Equal => Some((value, value)),
        Compare::Less => Some((0, value.checked_sub(1)?)),
        Compare::LessOrEqual => Some((0, value)),
        Compare::Greater => Some((value + 1, u64::MAX)),
        Compare::GreaterOrEqual => Some((value, u64::MAX)),
        Compare::NotEqual | Compare::MaskedEqual => None,
    }
}

/// Where a comparison leads.
#[derive(Debug, Clone, Copy)]
enum To {
    /// The next instruction.
    Next,
    /// Behind this condition: it holds.
    Holds,
    /// Behind the rule: it does not match.
    Fails,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    Load(u32),
    Mask(u32),
    Jump(Test, u32, To, To),
}

/// The conditions one behind the other, then the verdict; whoever fails one comes out at the end.
fn rule_code(conditions: &[Condition], verdict: u32, is_32_bit: bool) -> Code {
    let lines: Vec<Vec<Line>> = conditions.iter().map(|one| condition_lines(one, is_32_bit)).collect();
    let end = lines.iter().map(Vec::len).sum::<usize>() + 1;
    let (mut code, mut at) = (Code::default(), 0);
    for lines in lines {
        let holds = at + lines.len();
        for line in lines {
            at += 1;
            // At most six conditions of five lines each: every jump is a short one.
            let skip = |to| match to {
                To::Next => 0,
                To::Holds => u8::try_from(holds - at).unwrap_or(u8::MAX),
                To::Fails => u8::try_from(end - at).unwrap_or(u8::MAX),
            };
            code = match line {
                Line::Load(offset) => code.load(offset),
                Line::Mask(bits) => code.mask(bits),
                Line::Jump(test, k, yes, no) => code.jump(test, k, skip(yes), skip(no)),
            };
        }
    }
    code.verdict(verdict)
}

fn halves(value: u64) -> (u32, u32) {
    let half = |value| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    (half(value), half(value >> 32))
}

/// The machine has 32 bits, an argument 64: the high halves decide unless they are equal.
fn condition_lines(condition: &Condition, is_32_bit: bool) -> Vec<Line> {
    use To::{Fails, Holds, Next};
    let (low_at, high_at) = argument(condition.index);
    let (low, high) = halves(condition.value);
    let equal = |k, yes, no| Line::Jump(Test::Equal, k, yes, no);
    let greater = |k, yes, no| Line::Jump(Test::Greater, k, yes, no);
    let (above, below, last) = match condition.compare {
        Compare::Equal => (Fails, Fails, equal(low, Holds, Fails)),
        Compare::NotEqual => (Holds, Holds, equal(low, Fails, Holds)),
        Compare::Greater => (Holds, Fails, greater(low, Holds, Fails)),
        Compare::GreaterOrEqual => (Holds, Fails, Line::Jump(Test::GreaterOrEqual, low, Holds, Fails)),
        Compare::Less => (Fails, Holds, Line::Jump(Test::GreaterOrEqual, low, Fails, Holds)),
        Compare::LessOrEqual => (Fails, Holds, greater(low, Fails, Holds)),
        Compare::MaskedEqual => {
            let (wanted_low, wanted_high) = halves(condition.second & condition.value);
            let low = [Line::Load(low_at), Line::Mask(low), equal(wanted_low, Holds, Fails)];
            let high = [Line::Load(high_at), Line::Mask(high), equal(wanted_high, Next, Fails)];
            return if is_32_bit { low.into() } else { [high, low].concat() };
        }
    };
    let low = [Line::Load(low_at), last];
    if is_32_bit {
        return low.into();
    }
    let high = [Line::Load(high_at), greater(high, above, Next), equal(high, Next, below)];
    [&high[..], &low[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::super::bpf::interpret;
    use super::super::syscalls::Numbers;
    use super::*;

    /// The same question, answered from the profile as it is written.
    fn by_the_book(profile: &Profile, arch: Arch, number: u32, args: &[u64; 6]) -> u32 {
        let known: Vec<u32> = profile
            .rules
            .iter()
            .filter(|rule| rule.action != profile.default)
            .flat_map(|rule| rule.calls.iter().filter_map(|call| call.on(arch)))
            .collect();
        if known.iter().max().is_some_and(|last| number > *last) && !profile.default.lets_through() {
            return Action::NO_SUCH_CALL.0;
        }
        let about = |rule: &&Rule| {
            rule.action != profile.default && rule.calls.iter().any(|call| call.on(arch) == Some(number))
        };
        let holds = |one: &Condition| {
            let width = if arch == Arch::X86 { u64::from(u32::MAX) } else { u64::MAX };
            let (arg, value) = (args[one.index as usize] & width, one.value & width);
            match one.compare {
                Compare::Equal => arg == value,
                Compare::NotEqual => arg != value,
                Compare::Less => arg < value,
                Compare::LessOrEqual => arg <= value,
                Compare::Greater => arg > value,
                Compare::GreaterOrEqual => arg >= value,
                Compare::MaskedEqual => arg & value == one.second & value,
            }
        };
        let matches = |rule: &&Rule| {
            let twice =
                rule.conditions.iter().any(|a| rule.conditions.iter().filter(|b| a.index == b.index).count() > 1);
            if twice { rule.conditions.iter().any(holds) } else { rule.conditions.iter().all(holds) }
        };
        let rules = || profile.rules.iter().filter(about);
        let always = rules().find(|rule| rule.conditions.is_empty());
        always.or_else(|| rules().find(matches)).map_or(profile.default.0, |rule| rule.action.0)
    }

    /// Repeatable, and good enough to choose test cases.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % sides
        }

        fn value(&mut self) -> u64 {
            const LIKELY: [u64; 9] = [0, 1, 2, 38, 40, 0xffff_ffff, 1 << 32, (1 << 32) + 38, u64::MAX];
            LIKELY[self.roll(LIKELY.len())]
        }
    }

    const NAMES: [&str; 8] =
        ["read", "socket", "clone", "clone3", "personality", "unshare", "fstatat64", "no_such_call_yet"];
    const ACTIONS: [&str; 5] =
        ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"];
    const COMPARES: [Compare; 7] = [
        Compare::NotEqual,
        Compare::Less,
        Compare::LessOrEqual,
        Compare::Equal,
        Compare::GreaterOrEqual,
        Compare::Greater,
        Compare::MaskedEqual,
    ];

    fn profile(dice: &mut Dice) -> Profile {
        let action = |dice: &mut Dice| Action::parse(ACTIONS[dice.roll(ACTIONS.len())], None).unwrap();
        let default = action(dice);
        let rules = (0..dice.roll(12))
            .map(|_| {
                let condition = |dice: &mut Dice| Condition {
                    index: u32::try_from(dice.roll(3)).unwrap(),
                    compare: COMPARES[dice.roll(COMPARES.len())],
                    value: dice.value(),
                    second: dice.value(),
                };
                Rule {
                    calls: (0..=dice.roll(3)).filter_map(|_| Numbers::of(NAMES[dice.roll(NAMES.len())])).collect(),
                    action: action(dice),
                    conditions: (0..dice.roll(4)).map(|_| condition(dice)).collect(),
                }
            })
            .collect();
        Profile {
            default,
            architectures: vec![Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64],
            flags: vec![],
            listener_path: None,
            listener_metadata: None,
            rules,
        }
    }

    fn ask(program: &[Instruction], arch: Arch, number: u32, args: &[u64; 6]) -> u32 {
        let mut data = [0; 16];
        data[0] = if arch == Arch::X32 { number | X32_BIT } else { number };
        data[1] = arch.audit().unwrap();
        for (index, arg) in args.iter().enumerate() {
            (data[4 + 2 * index], data[5 + 2 * index]) = halves(*arg);
        }
        interpret(program, &data)
    }

    #[test]
    fn programs_answer_as_their_profiles_say() {
        let mut dice = Dice(4711);
        for _ in 0..60 {
            let profile = profile(&mut dice);
            let program = compile(&profile).unwrap();
            for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
                for _ in 0..40 {
                    let number = Numbers::of(NAMES[dice.roll(NAMES.len())]).and_then(|call| call.on(arch)).unwrap_or(0);
                    let number = number.saturating_add_signed(i32::try_from(dice.roll(3)).unwrap() - 1);
                    let mut args = [0; 6];
                    args.fill_with(|| dice.value());
                    assert_eq!(
                        ask(&program, arch, number, &args),
                        by_the_book(&profile, arch, number, &args),
                        "{arch:?} {number} {args:x?} {profile:#?}"
                    );
                }
            }
        }
    }

    #[test]
    fn foreign_conventions_end_the_process() {
        let profile = Profile {
            default: Action::parse("SCMP_ACT_ALLOW", None).unwrap(),
            architectures: vec![Arch::X86_64],
            flags: vec![],
            listener_path: None,
            listener_metadata: None,
            rules: vec![],
        };
        let program = compile(&profile).unwrap();
        let kill = Action::KILL_PROCESS.0;
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(ask(&program, Arch::X86, 1, &[0; 6]), kill);
            assert_eq!(ask(&program, Arch::X32, 1, &[0; 6]), kill);
            assert_eq!(ask(&program, Arch::X86_64, u32::MAX, &[0; 6]), profile.default.0, "a skipped call");
        }
        let mut riscv = [0; 16];
        riscv[1] = 0xc000_00f3;
        assert_eq!(interpret(&program, &riscv), kill);
    }

    #[test]
    fn a_profile_that_is_too_long_is_refused() {
        let condition = |value| Condition { index: 0, compare: Compare::MaskedEqual, value, second: value };
        let rules = (0..900)
            .map(|value| Rule {
                calls: Numbers::of("read").into_iter().collect(),
                action: Action::parse("SCMP_ACT_ALLOW", None).unwrap(),
                conditions: vec![condition(value)],
            })
            .collect();
        let default = Action::parse("SCMP_ACT_ERRNO", None).unwrap();
        let error = compile(&Profile {
            default,
            architectures: vec![],
            flags: vec![],
            listener_path: None,
            listener_metadata: None,
            rules,
        })
        .unwrap_err();
        assert!(error.to_string().contains("the kernel takes 4096"), "{error}");
    }
}
