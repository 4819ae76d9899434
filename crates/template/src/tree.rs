//! The parsed template, with every field and every function call made into a call of our own that knows its
//! place: what Go says in an error, gotmpl does not keep.

use crate::functions;
use gotmpl::parse::{CommandNode, DefineNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr};

/// The name under which the template itself is run; no `define` can have it.
pub const MAIN: &str = "\0main";
/// `field SITE BASE ARGUMENT…`: the member of BASE that the site names.
pub const FIELD: &str = "\0field";
/// `apply SITE ARGUMENT…`: the function that the site names.
pub const APPLY: &str = "\0apply";
/// `print VALUE`: as Go prints it.
pub const PRINT: &str = "\0print";

/// A place in the template where something can go wrong.
#[derive(Debug)]
pub struct Site {
    /// Where it stands, as Go counts: the line from 1, the byte in it from 0.
    line: usize,
    column: usize,
    /// The expression as Go writes it.
    pub shown: String,
    /// The members on the way, or the one name of the function.
    pub names: Vec<SmolStr>,
    /// The places of a function's arguments.
    pub arguments: Vec<usize>,
}

impl Site {
    /// Go's text for an error at this place.
    pub fn error(&self, cause: &str) -> gotmpl::TemplateError {
        self.error_at(&self.shown, cause)
    }

    /// The same, with only a part of the expression shown.
    pub fn error_at(&self, shown: &str, cause: &str) -> gotmpl::TemplateError {
        let Self { line, column, .. } = self;
        gotmpl::TemplateError::Exec(format!("template: :{line}:{column}: executing \"\" at <{shown}>: {cause}"))
    }
}

/// A template that is ready to run.
#[derive(Debug)]
pub struct Tree {
    /// The template itself and what it defines, by name.
    pub bodies: Vec<(String, ListNode)>,
    /// What the calls name by their number.
    pub sites: Vec<Site>,
}

impl Tree {
    /// Takes over what was parsed from `text`. The error is Go's, of a function or variable that is not there.
    pub fn new(text: &str, main: ListNode, defined: Vec<DefineNode>) -> Result<Self, String> {
        let mut work = Work { text, sites: Vec::new(), variables: vec!["$".into()] };
        let mut bodies = vec![(MAIN.to_owned(), work.list(main)?)];
        for define in defined {
            work.variables.truncate(1);
            bodies.push((define.name.to_string(), work.list(define.body)?));
        }
        Ok(Self { bodies, sites: work.sites })
    }
}

struct Work<'a> {
    text: &'a str,
    sites: Vec<Site>,
    /// Those that are declared here, the innermost last.
    variables: Vec<SmolStr>,
}

impl Work<'_> {
    fn list(&mut self, list: ListNode) -> Result<ListNode, String> {
        let nodes = list.nodes.into_iter().map(|node| self.node(node)).collect::<Result<_, _>>()?;
        Ok(ListNode { pos: list.pos, nodes })
    }

    fn node(&mut self, node: Node) -> Result<Node, String> {
        Ok(match node {
            Node::List(list) => Node::List(self.list(list)?),
            Node::Action(mut action) => {
                action.pipe = self.pipe(action.pipe)?;
                if action.pipe.decl.is_empty() {
                    action.pipe.commands.push(command(action.pos, vec![identifier(action.pos, PRINT)]));
                }
                Node::Action(action)
            }
            Node::If(branch) => Node::If(self.branch(branch)?),
            Node::With(branch) => Node::With(self.branch(branch)?),
            Node::Range(branch) => Node::Range(self.branch(branch)?),
            Node::Template(mut template) => {
                template.pipe = template.pipe.map(|pipe| self.pipe(pipe)).transpose()?;
                Node::Template(template)
            }
            other @ (Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_)) => other,
        })
    }

    /// Variables that are declared in it end with it.
    fn branch(&mut self, mut branch: gotmpl::parse::BranchNode) -> Result<gotmpl::parse::BranchNode, String> {
        let outer = self.variables.len();
        branch.pipe = self.pipe(branch.pipe)?;
        let inner = self.variables.len();
        branch.body = self.list(branch.body)?;
        self.variables.truncate(inner);
        branch.else_body = branch.else_body.map(|body| self.list(body)).transpose()?;
        self.variables.truncate(outer);
        Ok(branch)
    }

    fn pipe(&mut self, pipe: PipeNode) -> Result<PipeNode, String> {
        let commands = pipe.commands.into_iter().map(|command| self.command(command)).collect::<Result<_, _>>()?;
        for name in &pipe.decl {
            if !pipe.is_assign {
                self.variables.push(name.clone());
            } else if !self.variables.contains(name) {
                return Err(self.undefined(pipe.pos, name));
            }
        }
        Ok(PipeNode { commands, ..pipe })
    }

    fn undefined(&self, pos: Pos, variable: &str) -> String {
        format!("template: :{}: undefined variable {variable:?}", self.place(pos.offset).0)
    }

    fn command(&mut self, call: CommandNode) -> Result<CommandNode, String> {
        let shown = call.args.iter().map(show).collect::<Vec<_>>().join(" ");
        let mut words = call.args.into_iter();
        let Some(first) = words.next() else { return Ok(command(call.pos, Vec::new())) };
        let pos = first.pos();
        let places: Vec<(usize, String)> = words.as_slice().iter().map(|word| (offset(word), show(word))).collect();
        let mut args = match first {
            Expr::Identifier(_, name) => {
                self.defined(pos, &name)?;
                if functions::is_ours(&name) {
                    let arguments = places.into_iter().map(|(at, shown)| self.site(at, shown, Vec::new())).collect();
                    let site = self.site(pos.offset, shown, vec![name]);
                    self.sites[site].arguments = arguments;
                    vec![identifier(pos, APPLY), number(pos, site)]
                } else {
                    vec![identifier(pos, &name)]
                }
            }
            field => match self.field(field)? {
                Ok(call) => call.args,
                Err(plain) => vec![plain],
            },
        };
        for word in words {
            args.push(self.expression(word)?);
        }
        Ok(command(call.pos, args))
    }

    fn expression(&mut self, expr: Expr) -> Result<Expr, String> {
        let pos = expr.pos();
        Ok(match expr {
            Expr::Pipe(pos, pipe) => Expr::Pipe(pos, self.pipe(pipe)?),
            Expr::Identifier(..) => Expr::Pipe(pos, in_pipe(self.command(command(pos, vec![expr]))?)),
            other => match self.field(other)? {
                Ok(call) => Expr::Pipe(pos, in_pipe(call)),
                Err(plain) => plain,
            },
        })
    }

    /// A field becomes a call; everything else is given back.
    fn field(&mut self, expr: Expr) -> Result<Result<CommandNode, Expr>, String> {
        let (pos, shown, at) = (expr.pos(), show(&expr), offset(&expr));
        let (base, names) = match expr {
            Expr::Field(pos, names) => (Expr::Dot(pos), names),
            Expr::Variable(pos, name, names) => {
                if !self.variables.contains(&name) {
                    return Err(self.undefined(pos, &name));
                }
                (Expr::Variable(pos, name, Vec::new()), names)
            }
            Expr::Chain(_, inner, names) => (self.expression(*inner)?, names),
            Expr::Pipe(pos, pipe) => (Expr::Pipe(pos, self.pipe(pipe)?), Vec::new()),
            other => (other, Vec::new()),
        };
        if names.is_empty() {
            return Ok(Err(base));
        }
        let site = self.site(at, shown, names);
        Ok(Ok(command(pos, vec![identifier(pos, FIELD), number(pos, site), base])))
    }

    fn defined(&self, pos: Pos, function: &str) -> Result<(), String> {
        if functions::is_ours(function) || functions::GOS.contains(&function) {
            return Ok(());
        }
        Err(format!("template: :{}: function {function:?} not defined", self.place(pos.offset).0))
    }

    fn site(&mut self, offset: usize, shown: String, names: Vec<SmolStr>) -> usize {
        let (line, column) = self.place(offset);
        self.sites.push(Site { line, column, shown, names, arguments: Vec::new() });
        self.sites.len() - 1
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        (before.matches('\n').count() + 1, before.len() - before.rfind('\n').map_or(0, |at| at + 1))
    }
}

/// Where Go says that an expression stands: of a chain of members, at the second.
fn offset(expr: &Expr) -> usize {
    expr.pos().offset
        + match expr {
            Expr::Field(_, names) if names.len() > 1 => names[0].len() + 1,
            Expr::Variable(_, name, names) if !names.is_empty() => name.len(),
            _ => 0,
        }
}

/// An expression as Go writes it.
fn show(expr: &Expr) -> String {
    let chain = |names: &[SmolStr]| names.iter().flat_map(|name| [".", name]).collect::<String>();
    match expr {
        Expr::Dot(_) => ".".into(),
        Expr::Field(_, names) => chain(names),
        Expr::Variable(_, name, names) => format!("{name}{}", chain(names)),
        Expr::Identifier(_, name) => name.to_string(),
        Expr::String(_, text) => format!("{text:?}"),
        Expr::Number(_, Number::Int(number)) => number.to_string(),
        Expr::Number(_, Number::Uint(number)) => number.to_string(),
        Expr::Number(_, Number::Float(number)) => number.to_string(),
        Expr::Bool(_, bool) => bool.to_string(),
        Expr::Nil(_) => "nil".into(),
        Expr::Pipe(_, pipe) => {
            let command = |command: &CommandNode| command.args.iter().map(show).collect::<Vec<_>>().join(" ");
            format!("({})", pipe.commands.iter().map(command).collect::<Vec<_>>().join(" | "))
        }
        Expr::Chain(_, inner, names) => format!("{}{}", show(inner), chain(names)),
    }
}

fn identifier(pos: Pos, name: &str) -> Expr {
    Expr::Identifier(pos, name.into())
}

fn number(pos: Pos, number: usize) -> Expr {
    Expr::Number(pos, Number::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn command(pos: Pos, args: Vec<Expr>) -> CommandNode {
    CommandNode { pos, args }
}

fn in_pipe(command: CommandNode) -> PipeNode {
    PipeNode { pos: command.pos, decl: Vec::new(), commands: vec![command], is_assign: false }
}
