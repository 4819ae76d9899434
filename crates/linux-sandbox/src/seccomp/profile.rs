//! What a filter shall do, in the words of libseccomp that every runtime uses.

use super::parse::Written;
use super::syscalls::Numbers;
use crate::error::Error;
use serde::Deserialize;

type Result<T> = std::result::Result<T, Error>;

/// Which calls a process may make.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Profile {
    /// For every call that no rule is about.
    pub default: Action,
    /// Calling conventions beside the machine's own. Calls by any other end the process.
    pub architectures: Vec<Arch>,
    /// How the filter is installed.
    pub flags: Vec<Flag>,
    /// Where somebody waits for the listener of the calls that notify.
    pub listener_path: Option<std::path::PathBuf>,
    /// What is told there besides.
    pub listener_metadata: Option<String>,
    /// In order: the first that matches decides, but one without conditions goes before all that have some.
    pub rules: Vec<Rule>,
}

/// What is done with some calls.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The calls. One that the machine does not have is left out, as every runtime does.
    pub(super) calls: Vec<Numbers>,
    /// When it matches.
    pub action: Action,
    /// All must hold; two on the same argument are alternatives, as in runc.
    pub conditions: Vec<Condition>,
}

/// The verdict of a filter, as the kernel reads it (seccomp(2), "the filter return value").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub(crate) u32);

const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;

impl Action {
    /// Ends the process: what a call by a foreign convention gets.
    pub(crate) const KILL_PROCESS: Self = Self(0x8000_0000);

    /// The call does not exist.
    pub(crate) const NO_SUCH_CALL: Self = Self(ERRNO | libc::ENOSYS.cast_unsigned());

    /// `SCMP_ACT_…`, with the error number for the two actions that take one (1, EPERM, when none is given).
    pub fn parse(name: &str, errno: Option<u32>) -> Result<Self> {
        let value = match name {
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
            "SCMP_ACT_KILL_PROCESS" => Self::KILL_PROCESS.0,
            "SCMP_ACT_TRAP" => 0x0003_0000,
            "SCMP_ACT_ERRNO" => ERRNO,
            "SCMP_ACT_TRACE" => TRACE,
            "SCMP_ACT_NOTIFY" => NOTIFY,
            "SCMP_ACT_LOG" => LOG,
            "SCMP_ACT_ALLOW" => ALLOW,
            _ => return Err(Error::refused(format!("seccomp: {name}: no such action"))),
        };
        if value == ERRNO || value == TRACE {
            let data = errno.unwrap_or(libc::EPERM.cast_unsigned());
            let data = u16::try_from(data).map_err(|_| Error::refused(format!("seccomp: {data}: no error number")))?;
            return Ok(Self(value | u32::from(data)));
        }
        match errno {
            Some(errno) => Err(Error::refused(format!("seccomp: {name} takes no error number, and {errno} is given"))),
            None => Ok(Self(value)),
        }
    }

    pub(crate) fn notifies(self) -> bool {
        self.0 == NOTIFY
    }

    /// Whether a call gets through; a tracer is taken to let it.
    pub(crate) fn lets_through(self) -> bool {
        self.0 == ALLOW || self.0 == LOG || self.0 & 0xffff_0000 == TRACE
    }

    /// As a person says it.
    pub(crate) fn word(self) -> String {
        let data = self.0 & 0xffff;
        match self.0 & 0xffff_0000 {
            0 => "kill thread".into(),
            0x8000_0000 => "kill process".into(),
            0x0003_0000 => "trap".into(),
            ERRNO => format!("errno {data}"),
            TRACE => format!("trace {data}"),
            NOTIFY => "notify".into(),
            LOG => "log".into(),
            _ => "allow".into(),
        }
    }
}

/// A calling convention: its own numbers, its own size of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// amd64
    X86_64,
    /// 32-bit programs on it
    X86,
    /// 64-bit registers, 32-bit pointers
    X32,
    /// arm64
    Aarch64,
    /// One whose numbers this program does not know: its calls end the process.
    Other(&'static str),
}

const OTHERS: [&str; 17] = [
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
];

impl Arch {
    /// `SCMP_ARCH_…`
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "SCMP_ARCH_X86_64" => Ok(Self::X86_64),
            "SCMP_ARCH_X86" => Ok(Self::X86),
            "SCMP_ARCH_X32" => Ok(Self::X32),
            "SCMP_ARCH_AARCH64" => Ok(Self::Aarch64),
            _ => match OTHERS.iter().find(|known| **known == name) {
                Some(known) => Ok(Self::Other(known)),
                None => Err(Error::refused(format!("seccomp: {name}: no such architecture"))),
            },
        }
    }

    /// That of this program.
    pub(super) fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The kernel's number for it (`linux/audit.h`); x32 has none of its own.
    pub(super) fn audit(self) -> Option<u32> {
        match self {
            Self::X86_64 | Self::X32 => Some(0xc000_003e),
            Self::X86 => Some(0x4000_0003),
            Self::Aarch64 => Some(0xc000_00b7),
            Self::Other(_) => None,
        }
    }

    pub(super) fn is_32_bit(self) -> bool {
        self == Self::X86
    }

    /// As uname(1) says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "i386",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Other(name) => name,
        }
    }
}

/// `SECCOMP_FILTER_FLAG_…` of seccomp(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// For every thread; at this point there is one.
    Tsync,
    /// Every verdict but "allow" is logged.
    Log,
    /// Speculation is not held back.
    SpecAllow,
    /// A process that waits for the listener can be killed only.
    WaitKillable,
}

impl Flag {
    /// By its full name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "SECCOMP_FILTER_FLAG_TSYNC" => Ok(Self::Tsync),
            "SECCOMP_FILTER_FLAG_LOG" => Ok(Self::Log),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(Self::SpecAllow),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(Self::WaitKillable),
            _ => Err(Error::refused(format!("seccomp: {name}: no such flag"))),
        }
    }

    pub(super) fn bit(self) -> u32 {
        match self {
            Self::Tsync => 1,
            Self::Log => 2,
            Self::SpecAllow => 4,
            Self::WaitKillable => 0x20,
        }
    }
}

/// One argument compared with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub index: u32,
    /// How.
    pub compare: Compare,
    /// With what; for [`Compare::MaskedEqual`] the mask.
    pub value: u64,
    /// For [`Compare::MaskedEqual`] what is left of the argument under the mask.
    pub second: u64,
}

/// `SCMP_CMP_…`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it all")]
pub enum Compare {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}

impl Compare {
    /// `SCMP_CMP_…`
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "SCMP_CMP_NE" => Self::NotEqual,
            "SCMP_CMP_LT" => Self::Less,
            "SCMP_CMP_LE" => Self::LessOrEqual,
            "SCMP_CMP_EQ" => Self::Equal,
            "SCMP_CMP_GE" => Self::GreaterOrEqual,
            "SCMP_CMP_GT" => Self::Greater,
            "SCMP_CMP_MASKED_EQ" => Self::MaskedEqual,
            _ => return Err(Error::refused(format!("seccomp: {name}: no such comparison"))),
        })
    }
}
