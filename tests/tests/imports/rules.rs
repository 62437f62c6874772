//! The rules for reading imports, each with a few lines of source.

use crate::arrows::{Arrows, arrows};
use crate::circles::{circles, upward};
use crate::modules::{Crate, Sources};

fn arrows_of(files: &[(&str, &str)]) -> Arrows {
    arrows(&Crate::find(&Sources::of(files), files[0].0))
}

/// `from → to` for every import, by the names of the files alone.
fn told(files: &[(&str, &str)]) -> Vec<String> {
    arrows_of(files)
        .keys()
        .map(|(from, to)| format!("{from} → {to}"))
        .collect()
}

#[test]
fn a_circle_is_told_with_its_files_and_the_names_they_import() {
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "use crate::b::Lower; pub struct Upper(Lower);"),
        ("src/b.rs", "use super::c; pub struct Lower; pub fn f() { c::g() }"),
        ("src/c.rs", "pub fn g() { let _: crate::a::Upper; crate::d::leaf() }"),
        ("src/d.rs", "pub fn leaf() {}"),
    ];
    let found = circles(&arrows_of(&files));
    assert_eq!(found.len(), 1);
    let told = "3 files: src/a.rs → src/b.rs → src/c.rs → src/a.rs
    src/a.rs → src/b.rs (Lower)
    src/b.rs → src/c.rs (g)
    src/c.rs → src/a.rs (Upper)
";
    assert_eq!(found[0].to_string(), told);
}

#[test]
fn no_circle_where_arrows_point_one_way() {
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::B;"),
        ("src/a.rs", "use crate::B; use crate::c::C; pub struct A(B, C);"),
        ("src/b.rs", "use crate::c::C; pub struct B(C);"),
        ("src/c.rs", "pub struct C;"),
    ];
    assert_eq!(
        told(&files),
        ["src/a.rs → src/b.rs", "src/a.rs → src/c.rs", "src/b.rs → src/c.rs"]
    );
    assert!(circles(&arrows_of(&files)).is_empty());
}

#[test]
fn a_name_belongs_to_the_file_that_defines_it_and_not_to_one_that_re_exports_it() {
    let files = [
        ("src/lib.rs", "mod folder; mod other; pub use folder::*;"),
        ("src/folder/mod.rs", "mod x; pub use self::x::Y;"),
        ("src/folder/x.rs", "pub struct Y;"),
        ("src/other.rs", "use crate::folder::Y; fn f(_: Y) -> crate::Y {}"),
    ];
    assert_eq!(told(&files), ["src/other.rs → src/folder/x.rs"]);
}

#[test]
fn a_child_and_its_parent_that_use_items_of_each_other_are_a_circle() {
    let files = [
        (
            "src/folder/mod.rs",
            "mod x; pub use self::x::Y; pub trait T { fn y(&self) -> Y; }",
        ),
        ("src/folder/x.rs", "pub struct Y; impl super::T for Y {}"),
    ];
    assert_eq!(circles(&arrows_of(&files)).len(), 1);
}

#[test]
fn what_is_for_tests_only_imports_nothing() {
    let files = [
        ("src/lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
        (
            "src/a.rs",
            "pub struct A; impl A { #[cfg(test)] fn t() -> crate::b::B {} }
             #[cfg(all(test, unix))] use crate::b::B;
             #[test] fn t() { let _: crate::b::B; }
             #[cfg(test)] mod tests { use crate::b::B; }",
        ),
        ("src/b.rs", "use crate::a::A; pub struct B(A);"),
    ];
    assert_eq!(told(&files), ["src/b.rs → src/a.rs"]);
    let also_without = "pub struct A; #[cfg(any(test, unix))] use crate::b::B; #[cfg(not(test))] fn f() {}";
    let files = [files[0], ("src/a.rs", also_without), files[2]];
    assert_eq!(circles(&arrows_of(&files)).len(), 1);
}

#[test]
fn a_mock_is_not_what_a_name_stands_for_but_has_imports_of_its_own() {
    let files = [
        (
            "src/lib.rs",
            r#"mod a; mod generated; mod outside; #[cfg(feature = "mock")] mod mock; pub struct Root;"#,
        ),
        (
            "src/outside.rs",
            r#"#[cfg(feature = "mock")] pub use crate::mock::f; #[cfg(not(feature = "mock"))] pub use crate::generated::f;"#,
        ),
        ("src/a.rs", "fn a() { crate::outside::f() }"),
        ("src/generated.rs", "pub fn f() {}"),
        ("src/mock.rs", "pub fn f(_: crate::Root) {}"),
    ];
    assert_eq!(
        told(&files),
        ["src/a.rs → src/generated.rs", "src/mock.rs → src/lib.rs"]
    );
}

#[test]
fn paths_are_found_in_bodies_macros_and_inline_modules_and_through_renames_and_globs() {
    let b = (
        "src/b.rs",
        "pub struct B; pub enum E { X } pub fn f() {} pub mod deep { pub const D: u8 = 1; }",
    );
    for a in [
        "fn a() { crate::b::f(); }",
        "fn a() { println!(\"{}\", crate::b::deep::D); }",
        "macro_rules! m { () => { $crate::b::f() } }",
        "use crate::b as other; fn a() { other::f() }",
        "use crate::b::*; fn a(_: B) {}",
        "mod inner { fn a() { super::super::b::f() } }",
        "fn a() { use crate::b::E::*; }",
        "use crate::{b::{self, deep::D as _}};",
        "impl crate::b::B { fn a(&self) {} }",
        "fn a(_: Vec<Option<crate::b::B>>) {}",
    ] {
        let files = [("src/lib.rs", "mod a; mod b;"), ("src/a.rs", a), b];
        assert_eq!(told(&files), ["src/a.rs → src/b.rs"], "{a}");
    }
    for a in [
        "use std::b::B;",
        "use ::b::B;",
        "fn a(b: u8) { b; }",
        "use crate::b;",
        "/// [`crate::b::B`]\nfn a() {}",
    ] {
        let files = [("src/lib.rs", "mod a; mod b;"), ("src/a.rs", a), b];
        assert_eq!(told(&files), [""; 0], "{a}");
    }
}

#[test]
fn a_method_that_another_file_adds_to_a_type_is_that_files() {
    let below = "pub struct A; impl A { pub fn own(&self) { self.own(); self.added() } }";
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", below),
        ("src/b.rs", "use crate::a::A; impl A { pub fn added(&self) {} }"),
        ("src/c.rs", "struct C; impl C { fn other(&self) {} }"),
    ];
    assert_eq!(told(&files), ["src/a.rs → src/b.rs", "src/b.rs → src/a.rs"]);
    // Of two methods with one name, the called one is not known.
    let files = [
        files[0],
        files[1],
        files[2],
        ("src/c.rs", "struct C; impl C { fn added(&self) {} }"),
    ];
    assert_eq!(told(&files), ["src/b.rs → src/a.rs"]);
}

#[test]
fn arrows_up_the_order_are_found_and_files_without_a_place_in_it() {
    let files = [
        ("src/lib.rs", "mod top; mod middle; mod below; mod odd;"),
        ("src/top.rs", "use crate::below::f; pub struct Top;"),
        ("src/middle.rs", "use crate::top::Top;"),
        ("src/below.rs", "pub fn f() {}"),
        ("src/odd.rs", "use crate::below::f;"),
    ];
    let order: &[&[&str]] = &[&["src/top"], &["src/middle"], &["src/below"]];
    let found = upward(&arrows_of(&files), order);
    assert_eq!(
        found,
        ["src/middle.rs → src/top.rs (Top)", "src/odd.rs → src/below.rs (f)"]
    );
}
