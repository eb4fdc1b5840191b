//! A command line as words, as Python's `shlex.split(line, True)` makes them.
//!
//! `#` begins a comment anywhere, in the middle of a word too. Invariant: any line gives words or the
//! reason why it has none.

/// The words of a line.
pub fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(next) = chars.next() {
        match next {
            '#' => break,
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            '\'' | '"' => take_quoted(&mut chars, next, word.get_or_insert_default())?,
            // At the end of a line it escapes the line's end: there is no continuation.
            '\\' => word.get_or_insert_default().push(chars.next().unwrap_or('\n')),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn take_quoted(chars: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), &'static str> {
    loop {
        match chars.next().ok_or("No closing quotation")? {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or("No closing quotation")? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_shlex_does() {
        let check = |line: &str, expected: &[&str]| assert_eq!(words(line).unwrap(), expected, "{line}");
        check("  install\t--firstdisk=\"DELLBOSS VD\",usb  # a", &["install", "--firstdisk=DELLBOSS VD,usb"]);
        check("rootpw Long#Passw0rd1", &["rootpw", "Long"]);
        check("rootpw 'Long#1' \"a\\\"b\\c\" d\\ e", &["rootpw", "Long#1", "a\"b\\c", "d e"]);
        check("network \\", &["network", "\n"]);
        check("keyboard ''", &["keyboard", ""]);
        check("# x", &[]);
        for line in ["a 'b", "a \"b", "a \"b\\"] {
            assert!(words(line).is_err(), "{line}");
        }
    }
}
