//! A cursor token that was altered in any place, shortened, lengthened or invented is `no-such-process`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("echo some output")?;
    exit_of(&id)?;
    let token = read_since(&id, LogStream::Stdout, &oldest(), 4)?
        .next
        .token
        .unwrap_or_default();
    check!(!token.is_empty(), "the cursor has no token");
    let letters: Vec<char> = token.chars().collect();
    let part = |range: std::ops::Range<usize>| letters.get(range).unwrap_or_default().iter().collect::<String>();
    let mut forged: Vec<String> = vec![
        String::new(),
        "0".into(),
        "x".repeat(100_000),
        token.to_uppercase(),
        format!("{token}0"),
        format!(" {token}"),
        format!("{token}\n"),
        part(1..letters.len()),
        part(0..letters.len() - 1),
        part(0..2),
        format!("{token}{token}"),
        token.chars().rev().collect(),
        "0".repeat(token.len()),
        "f".repeat(token.len()),
        id.clone(),
        "\0".into(),
        "-1".into(),
        "\u{e9}".into(),
    ];
    for place in 0..letters.len() {
        for other in "0189afAz".chars() {
            let mut altered = letters.clone();
            altered[place] = other;
            forged.push(altered.into_iter().collect());
        }
    }
    forged.retain(|one| *one != token);
    for one in &forged {
        let what = format!(
            "a token of {} bytes, {:?}",
            one.len(),
            one.chars().take(12).collect::<String>()
        );
        refused(
            &what,
            read_since(&id, LogStream::Stdout, &at(one), 100),
            &ErrorCode::NoSuchProcess,
        )?;
    }
    let true_one = read_since(&id, LogStream::Stdout, &at(&token), 100)?;
    check!(true_one.data == b" output\n", "the true one: {true_one:?}");
    Ok(format!("{} forgeries refused", forged.len()))
}
