//! The names of environment variables that a request may set (contract S1).

/// Environment variables that a request may not set, because they decide which code runs instead of the data for it.
/// Names are compared exactly; a name ending in `*` is a prefix.
///
/// In order: the places of programs and shared objects, the files that a shell reads before its script, and the files
/// that interpreters load before theirs.
pub const RESERVED_ENV: &[&str] = &[
    "PATH",
    "LD_*",
    "DYLD_*",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "LOCPATH",
    "NLSPATH",
    "BASH_ENV",
    "BASHOPTS",
    "ENV",
    "IFS",
    "PROMPT_COMMAND",
    "PS4",
    "SHELLOPTS",
    "ZDOTDIR",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LUA_INIT",
    "LUA_PATH",
    "LUA_CPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PYTHONBREAKPOINT",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "RUBYLIB",
    "RUBYOPT",
    "_JAVA_OPTIONS",
];

/// Whether it is a valid name of a variable in POSIX.
pub(super) fn is_name(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether it is one of [`RESERVED_ENV`].
pub(super) fn is_reserved(key: &str) -> bool {
    RESERVED_ENV.iter().any(|reserved| match reserved.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == *reserved,
    })
}
