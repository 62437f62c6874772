//! Long output, of which a test must not get every byte.

use capsule_sdk::{Cursor, Error};
use serde::{Deserialize, Serialize};

use super::{Answer, Target, answer};

#[derive(Deserialize)]
pub(crate) struct Check {
    #[serde(flatten)]
    target: Target,
    /// The number of the first line.
    from: usize,
    /// The lengths of all lines, repeated from the beginning when the number is higher.
    sizes: Vec<usize>,
    longest: usize,
}

#[derive(Serialize)]
pub(crate) struct Checked {
    lines: usize,
    /// The number of the first line that is not as it was written, and what it is instead.
    wrong: Option<(usize, String)>,
    cursor: Cursor,
}

/// Waits for `count` lines; fewer if the stream ends. Line `n` must consist of the letter `n % 26`, `sizes[n % …]` times.
pub(crate) fn check(check: Check) -> Answer<Checked> {
    answer((|| {
        let target = &check.target;
        let mut log = target.process()?.stdout().resume(target.cursor.clone());
        let lines = log.follow().at_most(target.time()).lines().max_length(check.longest);
        let (mut count, mut wrong) = (0, None);
        for line in lines.take(target.count) {
            let line = line?;
            let number = check.from + count;
            let size = check.sizes.get(number % check.sizes.len()).copied().unwrap_or_default();
            let letter = b'a' + u8::try_from(number % 26).unwrap_or_default();
            if wrong.is_none() && (line.len() != size || line.bytes().any(|byte| byte != letter)) {
                let start: String = line.chars().take(40).collect();
                wrong = Some((number, format!("{} bytes instead of {size}: {start}", line.len())));
            }
            count += 1;
        }
        Ok(Checked {
            lines: count,
            wrong,
            cursor: log.cursor(),
        })
    })())
}

#[derive(Serialize)]
pub(crate) struct Sizes {
    /// Of each line its first word and its length without its end; of a loss, the bytes told.
    items: Vec<(Option<String>, u64)>,
    dropped: u64,
    at_end: bool,
    cursor: Cursor,
}

/// The present lines from a cursor on.
pub(crate) fn sizes(target: Target) -> Answer<Sizes> {
    answer((|| {
        let mut log = target.process()?.stdout().resume(target.cursor);
        let items = log.lines().map(|line| match line {
            Ok(line) => Ok((line.split(' ').next().map(str::to_owned), line.len() as u64)),
            Err(Error::Lost { bytes }) => Ok((None, bytes)),
            Err(error) => Err(error),
        });
        let items = items.collect::<Result<_, _>>()?;
        Ok(Sizes {
            items,
            dropped: log.dropped(),
            at_end: log.at_end()?,
            cursor: log.cursor(),
        })
    })())
}
