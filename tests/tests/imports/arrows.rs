//! The imports between files: which file names items of which other file.

use std::collections::{BTreeMap, BTreeSet};

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{Expr, ImplItem, Item, Type};

use crate::modules::{Crate, ModuleId, Target, for_tests, imports, is_re_export};

/// For each pair of files, the names that the first imports from the second.
pub(crate) type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

pub(crate) fn arrows(krate: &Crate) -> Arrows {
    let mut arrows = Arrows::new();
    let methods = methods_apart(krate);
    for (module, within) in krate.modules.iter().enumerate() {
        let mut paths = Paths {
            krate,
            module,
            methods: &methods,
            arrows: &mut arrows,
        };
        within.items.iter().for_each(|item| paths.visit_item(item));
    }
    arrows
}

/// The methods that a file other than the type's adds to a type, by their names. A type that calls one on itself need
/// not name that file. A method is omitted if another one has the same name, because a call does not tell them apart.
fn methods_apart(krate: &Crate) -> BTreeMap<String, ModuleId> {
    let (mut apart, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for (module, within) in krate.modules.iter().enumerate() {
        for item in &within.items {
            let Item::Impl(block) = item else { continue };
            let Type::Path(of) = &*block.self_ty else { continue };
            let file = |target| match target {
                Target::Item(defined, _) | Target::Module(defined) => &krate.modules[defined].file,
            };
            let is_apart = block.trait_.is_none()
                && krate
                    .resolve(module, &words(&of.path))
                    .is_some_and(|target| *file(target) != within.file);
            for part in &block.items {
                let ImplItem::Fn(function) = part else { continue };
                let name = function.sig.ident.to_string();
                if !seen.insert(name.clone()) {
                    apart.remove(&name);
                } else if is_apart {
                    apart.insert(name, module);
                }
            }
        }
    }
    apart
}

fn words(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// Visits every path that a module's code names.
struct Paths<'a> {
    krate: &'a Crate,
    module: ModuleId,
    methods: &'a BTreeMap<String, ModuleId>,
    arrows: &'a mut Arrows,
}

impl Paths<'_> {
    fn note(&mut self, path: &[String]) {
        // A module that a path names adds no import by itself. The items that are named through it do.
        if let Some(Target::Item(module, name)) = self.krate.resolve(self.module, path) {
            self.draw(module, name);
        }
    }

    fn draw(&mut self, module: ModuleId, name: String) {
        let (from, to) = (&self.krate.modules[self.module].file, &self.krate.modules[module].file);
        if from != to {
            self.arrows.entry((from.clone(), to.clone())).or_default().insert(name);
        }
    }

    /// The arguments of a macro are not parsed as code, so paths are searched among their words.
    fn note_tokens(&mut self, mut rest: Cursor<'_>) {
        let mut path: Vec<String> = Vec::new();
        while !rest.eof() {
            if let Some((ident, beyond)) = rest.ident() {
                path.push(ident.to_string());
                rest = beyond;
                if let Some(beyond) = colons(rest) {
                    rest = beyond;
                    continue;
                }
            } else if let Some((inner, _, _, beyond)) = rest.any_group() {
                self.note_tokens(inner);
                rest = beyond;
            } else if let Some((_, beyond)) = rest.token_tree() {
                rest = beyond;
            }
            // A single word may be anything. A word in capitals is most likely not a variable.
            if path.len() > 1 || path.first().is_some_and(|word| word.starts_with(char::is_uppercase)) {
                self.note(&path);
            }
            path.clear();
        }
    }
}

/// The tokens after a `::`.
fn colons(rest: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, rest) = rest.punct()?;
    let (second, rest) = rest.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(rest)
}

impl<'a> Visit<'a> for Paths<'_> {
    fn visit_item_use(&mut self, used: &'a syn::ItemUse) {
        if !is_re_export(&used.vis) {
            imports(&used.tree).iter().for_each(|import| self.note(import.path()));
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        // A path that starts with `::` names another crate.
        if path.leading_colon.is_none() {
            self.note(&words(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let on_self = matches!(&*call.receiver, Expr::Path(receiver) if receiver.path.is_ident("self"));
        if let Some(module) = self.methods.get(&call.method.to_string()).filter(|_| on_self) {
            self.draw(*module, call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, mac: &'a syn::Macro) {
        visit::visit_macro(self, mac);
        self.note_tokens(TokenBuffer::new2(mac.tokens.clone()).begin());
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}
}
