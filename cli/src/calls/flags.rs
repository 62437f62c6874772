//! The options of `capsule run` for its calls, and the help on the lines that ask for calls.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// The longest key that a capsule can ask for, in bytes.
const LONGEST_KEY: usize = 1024;

/// The flags of `capsule run`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Calls")]
// The flags of `ceilings` have a group of the same name.
#[group(skip)]
pub(crate) struct Flags {
    /// Read calls from this file, one JSON object a line; `-` is standard input. They are made after those of the command line.
    #[arg(long = "calls", value_name = "FILE", long_help = LINES_HELP)]
    pub(crate) calls_file: Option<PathBuf>,

    /// How many calls may run at once.
    ///
    /// With more than one, each answer is printed when its call ends. A call that refers to the result of another one waits for it,
    /// and counts as one of the N meanwhile.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,

    /// The longest time of one call, such as `30s` or `2m` [default: 10m].
    ///
    /// A call that takes longer is ended and answered with an error of the kind `call-time`. The processes that it left
    /// running run on, and later calls are made. To bound the whole command, use `timeout` of your system:
    /// `timeout 1m capsule run …` ends it in good order.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// After the last call, wait until all processes that the calls started have ended by themselves.
    ///
    /// Without this option the command ends them. Ctrl-C ends them and the command. The host ends each after six hours.
    #[arg(long)]
    pub(crate) until_exit: bool,

    /// A value of the capsule's configuration, which it reads by `get-config` of `astrid:sys`. May be given several times.
    ///
    /// Other users of this machine can read the command line, so do not give secrets this way.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) config: Vec<(String, String)>,
}

const LINES_HELP: &str = "\
Read calls from this file, one JSON object a line; `-` is standard input. They are made after those of the command line.

A CALL that is `-` stands for standard input, too. The members of a line, of which only `action` is needed:
  action     the action to call
  payload    any JSON; the capsule gets it unchanged
  principal  the principal on whose behalf the call runs; with --principal, no line may name another one, and with --publish,
             only the principal of the command line can have processes
  id         a name for the call, which its answer repeats: letters, digits, `_` and `-`, or a number
  refs       false, if the payload's references are to stay as they are

A reference is an object with the one member `$ref`, anywhere in a payload. It stands for a part of an earlier result:
  {\"$ref\":\"start.data.items.0.id\"}   in the data of the call `start`: member `items`, its first element, member `id`
It means the last earlier line with that id, and its call must have succeeded.

Each answer has the number of its line as `line`. It is written before the next line is read, so a program can drive the command
through pipes: it writes a line, reads the answer, and writes the next line. With --jobs N, lines are read while fewer than N
calls run. A line that cannot be used gets an answer with an error of the kind `bad-line`, `line-too-long` or `bad-reference`,
and the lines after it are read. Empty lines have no answer.

Bounds: 16 MiB for a line, and for a payload with its references filled in; 64 references in a line; references reach the last
1,000 results with an id, and 32 MiB of these.

Example, in a clone of this project:
  printf '%s\\n' '{\"id\":\"s\",\"action\":\"start\"}' '{\"action\":\"status\",\"payload\":{\"id\":{\"$ref\":\"s.data.id\"}}}' |
    capsule run --allow python3 --allow-persistent example-capsules/dev-server -";

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        return Err("a call needs more time than none".to_owned());
    }
    Ok(duration)
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(format!("a key has 1 to {LONGEST_KEY} bytes"));
    }
    if key.starts_with('_') {
        return Err("keys that begin with `_` are the host's own, and no capsule can read them".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_is_more_than_none() {
        assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        for text in ["", "5", "0s", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_setting_is_split_at_its_first_sign_and_no_key_is_the_hosts() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(setting("a=b=c").unwrap(), pair("a", "b=c"));
        assert_eq!(setting("a=").unwrap(), pair("a", ""));
        for text in ["a", "=b", "_a=b", &format!("{}=b", "k".repeat(LONGEST_KEY + 1))] {
            assert!(setting(text).is_err(), "{text}");
        }
    }
}
