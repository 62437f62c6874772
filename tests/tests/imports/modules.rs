//! The modules of a crate, their files, and the targets of paths. Names are resolved as the compiler does it, through
//! `use`, re-exports and globs, but not in other crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta, Token, UseTree, Visibility, punctuated::Punctuated};

/// The longest chain of re-exports that is followed. A longer one is itself a circle.
const RE_EXPORTS: usize = 16;

/// Files by their path within the workspace.
pub(crate) struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Every Rust file beside and below `root`, which is a path within `workspace`.
    pub(crate) fn read(workspace: &Path, root: &str) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![workspace.join(root).parent().unwrap().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(workspace).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        Self(files)
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }
}

/// A module by its place in [`Crate::modules`]; 0 is the crate's root.
pub(crate) type ModuleId = usize;

pub(crate) struct Module {
    pub(crate) file: String,
    /// The items of the module, without those that are compiled for tests only.
    pub(crate) items: Vec<Item>,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
    defined: BTreeSet<String>,
    /// Names that a `use` brings into scope, with their targets. A name has several targets if the configuration
    /// decides between them.
    used: Vec<(String, Vec<String>)>,
    globs: Vec<Vec<String>>,
}

pub(crate) struct Crate {
    pub(crate) modules: Vec<Module>,
}

/// The target of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Module(ModuleId),
    /// An item of a module, by its name there. Further segments of the path (a variant, an associated function) belong
    /// to the item.
    Item(ModuleId, String),
}

impl Crate {
    /// # Panics
    /// If a file cannot be parsed, or one that a `mod` names is not among `sources`.
    pub(crate) fn find(sources: &Sources, root: &str) -> Self {
        let mut found = Self { modules: Vec::new() };
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        found.add_file(sources, root, folder, None);
        found
    }

    /// Adds a module that is a file. `folder` contains the files of its children.
    fn add_file(&mut self, sources: &Sources, file: &str, folder: &str, parent: Option<ModuleId>) -> ModuleId {
        let text = sources.0.get(file).unwrap_or_else(|| panic!("{file} is not there"));
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.add(sources, file, folder, parent, parsed.items)
    }

    fn add(
        &mut self,
        sources: &Sources,
        file: &str,
        folder: &str,
        parent: Option<ModuleId>,
        mut items: Vec<Item>,
    ) -> ModuleId {
        items.retain(|item| !for_tests(attributes(item)) && !is_mock(item));
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            items: Vec::new(),
            parent,
            children: BTreeMap::new(),
            defined: items.iter().filter_map(name).collect(),
            used: Vec::new(),
            globs: Vec::new(),
        });
        for item in &mut items {
            if let Item::Mod(module) = item {
                let name = module.ident.to_string();
                let below = format!("{folder}/{name}");
                // The items belong to the child module, and must not be visited again as a part of this module.
                let child = if let Some((_, inline)) = &mut module.content {
                    self.add(sources, file, &below, Some(id), std::mem::take(inline))
                } else {
                    let alone = format!("{below}.rs");
                    let file = if sources.0.contains_key(&alone) {
                        alone
                    } else {
                        format!("{below}/mod.rs")
                    };
                    self.add_file(sources, &file, &below, Some(id))
                };
                self.modules[id].children.insert(name, child);
            } else if let Item::Use(used) = item {
                for import in imports(&used.tree) {
                    match import {
                        Import::Name { name, path } => self.modules[id].used.push((name, path)),
                        Import::Glob { path } => self.modules[id].globs.push(path),
                    }
                }
            }
        }
        self.modules[id].items = items;
        id
    }

    /// The target of `path` as it is written in module `from`. None if it leads out of the crate or is a local name.
    pub(crate) fn resolve(&self, from: ModuleId, path: &[String]) -> Option<Target> {
        self.resolve_within(from, path, RE_EXPORTS)
    }

    fn resolve_within(&self, from: ModuleId, path: &[String], re_exports: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self.look_up(from, name, rest.is_empty(), re_exports)?,
        };
        while let (Target::Module(module), Some((next, beyond))) = (&target, rest.split_first()) {
            let module = *module;
            target = if next == "super" {
                Target::Module(self.modules[module].parent?)
            } else {
                // A name that is not found was made by a macro of that module.
                self.look_up(module, next, beyond.is_empty(), re_exports)
                    .unwrap_or_else(|| Target::Item(module, next.clone()))
            };
            rest = beyond;
        }
        Some(target)
    }

    /// The target of a name within a module. A name may be that of a module and of an item; the module is meant if more
    /// segments follow.
    fn look_up(&self, id: ModuleId, name: &str, last: bool, re_exports: usize) -> Option<Target> {
        let re_exports = re_exports.checked_sub(1)?;
        let module = &self.modules[id];
        let child = module.children.get(name).map(|child| Target::Module(*child));
        if !last && child.is_some() {
            return child;
        }
        if module.defined.contains(name) {
            return Some(Target::Item(id, name.to_owned()));
        }
        let used = module.used.iter().filter(|(used, _)| used == name);
        let mut used = used.filter_map(|(_, path)| self.resolve_within(id, path, re_exports));
        used.next().or(child).or_else(|| {
            module
                .globs
                .iter()
                .find_map(|glob| match self.resolve_within(id, glob, re_exports)? {
                    Target::Module(all) if all != id => self.look_up(all, name, last, re_exports),
                    Target::Module(_) | Target::Item(..) => None,
                })
        })
    }
}

/// A name that a `use` brings into scope.
pub(crate) enum Import {
    Name { name: String, path: Vec<String> },
    Glob { path: Vec<String> },
}

impl Import {
    pub(crate) fn path(&self) -> &[String] {
        match self {
            Self::Name { path, .. } | Self::Glob { path } => path,
        }
    }
}

pub(crate) fn imports(tree: &UseTree) -> Vec<Import> {
    let mut found = Vec::new();
    walk(tree, &mut Vec::new(), &mut found);
    found
}

fn walk(tree: &UseTree, above: &mut Vec<String>, found: &mut Vec<Import>) {
    let leaf = |ident: &syn::Ident, name: &syn::Ident| {
        let mut path = above.clone();
        if ident != "self" || path.is_empty() {
            path.push(ident.to_string());
        }
        let name = if name == "self" {
            path.last().unwrap().clone()
        } else {
            name.to_string()
        };
        Import::Name { name, path }
    };
    match tree {
        UseTree::Path(part) => {
            above.push(part.ident.to_string());
            walk(&part.tree, above, found);
            above.pop();
        }
        UseTree::Name(part) => found.push(leaf(&part.ident, &part.ident)),
        UseTree::Rename(part) => found.push(leaf(&part.ident, &part.rename)),
        UseTree::Glob(_) => found.push(Import::Glob { path: above.clone() }),
        UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, above, found)),
    }
}

/// Whether a `use` makes its names available to others.
pub(crate) fn is_re_export(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// Whether an item with these attributes is compiled for tests only.
pub(crate) fn for_tests(attributes: &[Attribute]) -> bool {
    let is_test = |meta: &Meta| meta.path().is_ident("test");
    attributes
        .iter()
        .any(|attribute| is_test(&attribute.meta) || attribute_needs(attribute, &is_test))
}

/// Whether a `use` only replaces an item by a mock. The mock's own files count as all others do.
fn is_mock(item: &Item) -> bool {
    matches!(item, Item::Use(_))
        && attributes(item)
            .iter()
            .any(|attribute| attribute_needs(attribute, &is_feature_mock))
}

fn is_feature_mock(condition: &Meta) -> bool {
    let Meta::NameValue(feature) = condition else {
        return false;
    };
    let Expr::Lit(ExprLit {
        lit: Lit::Str(name), ..
    }) = &feature.value
    else {
        return false;
    };
    feature.path.is_ident("feature") && name.value() == "mock"
}

fn attribute_needs(attribute: &Attribute, wanted: &dyn Fn(&Meta) -> bool) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    list.path.is_ident("cfg") && list.parse_args().is_ok_and(|condition| needs(&condition, wanted))
}

/// Whether a condition can hold only where a wanted one holds.
fn needs(condition: &Meta, wanted: &dyn Fn(&Meta) -> bool) -> bool {
    let Meta::List(list) = condition else {
        return wanted(condition);
    };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    match list.path.get_ident() {
        Some(all) if all == "all" => parts.iter().any(|part| needs(part, wanted)),
        Some(any) if any == "any" => parts.iter().all(|part| needs(part, wanted)),
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name of an item. None for items that others cannot name, and for modules and imports, which are found elsewhere.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
