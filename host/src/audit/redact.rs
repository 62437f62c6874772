//! Prepares guest text for a record: cuts it to size, and replaces everything that could be a process id (contract I2).
//!
//! A capsule knows its ids and may put one into an argument. An id cannot be distinguished from other text of its shape, so
//! every such text is replaced by a name. The same text always gets the same name.

use capsule_supervisor::internals::cut;

/// The length of an id in characters. A shorter text is not an id; a longer text may contain one.
const ID_LENGTH: usize = 52;

/// At most `max` bytes of `text`, in which `name` replaces each run of characters that could contain an id. The flag
/// says whether the end is missing.
pub(crate) fn redacted(text: &str, max: usize, name: &dyn Fn(&str) -> String) -> (String, bool) {
    let mut clean = String::new();
    let mut rest = text;
    // Runs are examined and replaced whole before the cut, because a cut would leave most of an id.
    while !rest.is_empty() && clean.len() < max {
        let run = rest.find(|c| !is_of_id(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        if word.len() < ID_LENGTH {
            clean.push_str(word);
        } else {
            clean.push_str(&format!("[{} characters, {}]", word.len(), name(word)));
        }
        let others = after.find(is_of_id).unwrap_or(after.len());
        let (other, after) = after.split_at(others);
        clean.push_str(other);
        rest = after;
    }
    let kept = cut(&clean, max).to_owned();
    let shortened = !rest.is_empty() || kept.len() < clean.len();
    (kept, shortened)
}

const fn is_of_id(c: char) -> bool {
    matches!(c, 'a'..='z' | '2'..='7')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst";

    fn clean(text: &str, max: usize) -> (String, bool) {
        redacted(text, max, &|_| "NAME".into())
    }

    #[test]
    fn i2_what_could_be_an_id_is_replaced_by_its_name() {
        assert_eq!(clean(ID, 1000).0, "[52 characters, NAME]");
        assert_eq!(
            clean(&format!("--id={ID}/{ID}"), 1000).0,
            "--id=[52 characters, NAME]/[52 characters, NAME]"
        );
        assert_eq!(clean(&format!("id{ID}s"), 1000).0, "[55 characters, NAME]");
        let almost = &ID[1..];
        assert_eq!(clean(almost, 1000), (almost.to_owned(), false));
        assert_eq!(clean("ls -l /tmp ü", 1000), ("ls -l /tmp ü".to_owned(), false));
    }

    #[test]
    fn u1_text_is_cut_and_the_cut_is_told() {
        assert_eq!(clean("abcü", 4), ("abc".to_owned(), true));
        assert_eq!(clean("abc", 3), ("abc".to_owned(), false));
        assert_eq!(clean("", 0), (String::new(), false));
    }

    proptest! {
        /// Wherever an id is, and wherever the text is cut, what is left of the id is no more than a reader could
        /// guess.
        #[test]
        fn i2_a_cut_leaves_no_part_of_an_id(before in "[ a-z/=]{0,60}", after in "[ a-z2-7]{0,60}", max in 0..200usize) {
            let (kept, _) = clean(&format!("{before}{ID}{after}"), max);
            prop_assert!(kept.len() <= max);
            prop_assert!(!kept.contains(&ID[..20]), "{kept}");
        }
    }
}
