//! Text of others, made safe to print.
//!
//! A BMC, a guest or a client chooses what stands in a model name or an error message, and a terminal obeys control
//! characters. Invariant: what [`visible`] and [`visible_lines`] return holds no control character (but the line
//! feeds of lines) and nothing that reorders or hides text.

use std::borrow::Cow;

/// `text` as one line: white space is a blank, and other control characters are shown as their symbols.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_visible) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { shown(c) }).collect()
}

/// The same, with line feeds and tabulators left as they are.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    let stays = |c: char| is_visible(c) || matches!(c, '\n' | '\t');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if stays(c) { c } else { shown(c) }).collect()
}

/// Whether a terminal shows the character where it stands, and nothing else happens.
pub fn is_visible(c: char) -> bool {
    let reorders_or_hides = matches!(
        c,
        '\u{061C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    );
    !c.is_control() && !reorders_or_hides
}

fn shown(c: char) -> char {
    match c {
        '\u{0}'..='\u{1F}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7F}' => '\u{2421}',
        c if is_visible(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let evil = "a\u{1b}[2Jb\u{9b}31mc\u{7f}\u{202e}d\r\n\te\u{0}\u{200b}ß 漢 🖥";
        assert_eq!(visible(evil), "a␛[2Jb\u{fffd}31mc␡\u{fffd}d   e␀\u{fffd}ß 漢 🖥");
        assert_eq!(visible_lines("a\u{1b}\r\n\tb"), "a␛␍\n\tb");
        assert!(matches!(visible("PowerEdge R750"), Cow::Borrowed(_)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_printed_without_effect(text in "\\PC*|.*") {
            proptest::prop_assert!(visible(&text).chars().all(is_visible));
            proptest::prop_assert!(visible_lines(&text).chars().all(|c| is_visible(c) || matches!(c, '\n' | '\t')));
        }
    }
}
