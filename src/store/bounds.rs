//! Limits on stored text.

/// The most characters that are kept of a message or a reason.
pub(super) const TEXT_CHARS_MAX: usize = 2_000;

/// The first `chars` characters of `text`.
pub(super) fn clipped(text: &str, chars: usize) -> &str {
    let end = text.char_indices().nth(chars);
    end.map_or(text, |(index, _)| &text[..index])
}
