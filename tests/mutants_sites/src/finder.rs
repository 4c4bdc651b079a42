//! The walk through a source.

use std::ops::Range;

use proc_macro2::TokenTree;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, ReturnType, Signature, Type};

use crate::site::{Piece, Site};

/// Operators, and the replacement of each.
const OPERATORS: &[(&str, &[&str])] = &[
    ("<", &["<=", ">"]),
    ("<=", &["<", ">"]),
    (">", &[">=", "<"]),
    (">=", &[">", "<"]),
    ("==", &["!="]),
    ("!=", &["=="]),
    ("&&", &["||"]),
    ("||", &["&&"]),
    ("+", &["-", "*"]),
    ("-", &["+", "/"]),
    ("*", &["+", "/"]),
    ("/", &["*", "%"]),
    ("%", &["/", "+"]),
    ("&", &["|", "^"]),
    ("|", &["&", "^"]),
    ("^", &["|", "&"]),
    ("<<", &[">>"]),
    (">>", &["<<"]),
    ("+=", &["-=", "*="]),
    ("-=", &["+=", "/="]),
    ("*=", &["+=", "/="]),
    ("|=", &["&="]),
    ("&=", &["|="]),
];

/// Methods, and the replacement of each.
const METHODS: &[(&str, &str)] = &[
    ("wrapping_add", "wrapping_sub"),
    ("wrapping_sub", "wrapping_add"),
    ("saturating_add", "saturating_sub"),
    ("saturating_sub", "saturating_add"),
    ("min", "max"),
    ("max", "min"),
];

/// Functions that only tests and people look at.
const LEFT_ALONE: [&str; 2] = ["check_consistency", "fmt"];

#[derive(Default)]
pub(crate) struct Finder {
    pub(crate) sites: Vec<Site>,
    /// Code that the macros of the source expand to.
    pub(crate) macro_bodies: Vec<Range<usize>>,
    /// Position of this source in its file.
    pub(crate) offset: usize,
}

impl Finder {
    fn at(&self, spanned: &impl Spanned) -> Range<usize> {
        let range = spanned.span().byte_range();
        range.start + self.offset..range.end + self.offset
    }

    fn add(&mut self, name: String, range: Range<usize>, pieces: Vec<Piece>) {
        self.sites.push(Site { name, range, pieces });
    }

    /// The source between two parts of an expression gives way to another word.
    fn add_choice(&mut self, name: String, whole: Range<usize>, left: Range<usize>, to: &'static str, right: Piece) {
        let pieces = vec![
            Piece::Text("(if "),
            Piece::IsChosen,
            Piece::Text(" { "),
            Piece::Source(left),
            Piece::Text(to),
            right,
            Piece::Text(" } else { "),
            Piece::Source(whole.clone()),
            Piece::Text(" })"),
        ];
        self.add(name, whole, pieces);
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) -> bool {
        if is_test(attributes) || LEFT_ALONE.contains(&signature.ident.to_string().as_str()) {
            return false;
        }
        let start = self.at(block).start + 1;
        for (name, result) in results(&signature.output) {
            let pieces = vec![Piece::Text(" if "), Piece::IsChosen, Piece::Text(" { return "), Piece::Text(result)];
            let pieces = pieces.into_iter().chain([Piece::Text("; } ")]).collect();
            self.add(format!("{} returns {name}", signature.ident), start..start, pieces);
        }
        true
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if self.function(&item.attrs, &item.sig, &item.block) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if self.function(&item.attrs, &item.sig, &item.block) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_test(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    // Constants cannot ask which mutant is chosen.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_expr_repeat(&mut self, expr: &'ast syn::ExprRepeat) {
        self.visit_expr(&expr.expr);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        for token in item.mac.tokens.clone() {
            if let TokenTree::Group(group) = token {
                let (open, close) = (group.span_open().byte_range(), group.span_close().byte_range());
                self.macro_bodies.push(open.end + self.offset..close.start + self.offset);
            }
        }
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let (whole, op) = (self.at(expr), self.at(&expr.op));
        let (left, right) = (self.at(&expr.left), self.at(&expr.right));
        let text = expr.op.span().source_text().unwrap_or_default();
        let replacements = OPERATORS.iter().find(|(from, _)| *from == text).map_or(&[][..], |(_, to)| to);
        if !has_let(&expr.left) && !has_let(&expr.right) && op.end <= right.start {
            for to in replacements {
                self.add_choice(
                    format!("{text} to {to}"),
                    whole.clone(),
                    left.clone(),
                    to,
                    Piece::Source(right.clone()),
                );
            }
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        if matches!(expr.op, syn::UnOp::Not(_)) {
            let (whole, inner) = (self.at(expr), self.at(&*expr.expr));
            let nothing = whole.start..whole.start;
            self.add_choice("! removed".to_owned(), whole, nothing, "", Piece::Source(inner));
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_method_call(&mut self, expr: &'ast syn::ExprMethodCall) {
        let name = expr.method.to_string();
        if let Some((_, to)) = METHODS.iter().find(|(from, _)| *from == name) {
            let (whole, method) = (self.at(expr), self.at(&expr.method));
            let right = Piece::Source(method.end..whole.end);
            self.add_choice(format!("{name} to {to}"), whole.clone(), whole.start..method.start, to, right);
        }
        visit::visit_expr_method_call(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some((_, guard)) = arm.guard.as_ref().filter(|(_, guard)| !has_let(guard)) {
            let whole = self.at(&**guard);
            for (name, before, middle) in [("true", "(", " || ("), ("false", "(!", " && (")] {
                let pieces = vec![
                    Piece::Text(before),
                    Piece::IsChosen,
                    Piece::Text(middle),
                    Piece::Source(whole.clone()),
                    Piece::Text("))"),
                ];
                self.add(format!("guard to {name}"), whole.clone(), pieces);
            }
        }
        visit::visit_arm(self, arm);
    }
}

/// True for items that exist in tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.span().source_text().unwrap_or_default();
        text == "test" || (text.starts_with("cfg") && text.contains("test"))
    })
}

/// True if the expression has a `let` of a condition, which cannot be put into parentheses.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Values that a function may return without looking at anything.
fn results(output: &ReturnType) -> Vec<(&'static str, &'static str)> {
    let ReturnType::Type(_, kind) = output else { return vec![("nothing", "")] };
    let text: String = kind.span().source_text().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    match text.as_str() {
        "bool" => vec![("true", "true"), ("false", "false")],
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => vec![("0", "0"), ("1", "1")],
        "Duration" => vec![("zero", "std::time::Duration::ZERO")],
        _ if text.starts_with("Option<") => vec![("None", "None")],
        _ if text.starts_with("Vec<") => vec![("nothing", "Vec::new()")],
        "Result<(),DecodeError>" => vec![("Ok", "Ok(())")],
        _ => Vec::new(),
    }
}
