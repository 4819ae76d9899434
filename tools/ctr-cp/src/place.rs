//! An operand, in docker's grammar.

/// Where something is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A container, and a path in it.
    Container(&'a str, &'a str),
    /// A path of the host.
    Local(&'a str),
    /// `-`
    Stream,
}

impl<'a> Place<'a> {
    /// A path that is absolute or starts with a dot is the host's, whatever colons it has.
    pub fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((name, path)) if !text.starts_with('/') && !name.starts_with('.') && !name.is_empty() => {
                Self::Container(name, path)
            }
            _ => Self::Local(text),
        }
    }
}

/// What the end of a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// It ends with `/.`: what is in the directory.
    pub contents: bool,
    /// It ends with a slash, or with the above: a directory, also behind a link.
    pub directory: bool,
}

impl Ending {
    pub fn of(path: &str) -> Self {
        let contents = path == "." || path.ends_with("/.");
        Self { contents, directory: contents || path.ends_with('/') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_operands() {
        for (text, want) in [
            ("web:/etc", Place::Container("web", "/etc")),
            ("web:etc", Place::Container("web", "etc")),
            ("web:", Place::Container("web", "")),
            ("a:b:c", Place::Container("a", "b:c")),
            ("./a:b", Place::Local("./a:b")),
            ("/a:b", Place::Local("/a:b")),
            ("../a:b", Place::Local("../a:b")),
            ("file", Place::Local("file")),
            (":/x", Place::Local(":/x")),
            ("-", Place::Stream),
        ] {
            assert_eq!(Place::parse(text), want);
        }
        assert_eq!(Ending::of("/a/."), Ending { contents: true, directory: true });
        assert_eq!(Ending::of("/a/"), Ending { contents: false, directory: true });
        assert!(!Ending::of("/a.").directory);
    }
}
