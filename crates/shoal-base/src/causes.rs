//! Errors as texts for people, with what is behind them.

use std::error::Error;

/// The error and its causes as one sentence. A cause that the text has already is not repeated.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What began it all, for errors of libraries whose upper layers say nothing of use; the error itself where
/// nothing is behind it.
pub fn root_cause(error: &dyn Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn causes<'a>(error: &'a dyn Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, behind) = texts.split_first().expect("an error has a text");
        Layer { text, source: (!behind.is_empty()).then(|| Box::new(layers(behind))) }
    }

    #[test]
    fn every_cause_is_shown_once() {
        for (texts, whole, root) in [
            (&["no answer"][..], "no answer", "no answer"),
            (&["no answer", "cannot connect", "refused"], "no answer: cannot connect: refused", "refused"),
            (&["row 3: bad: too long", "bad", "too long"], "row 3: bad: too long", "too long"),
            (&["a", "b", "a"], "a: b", "a"),
        ] {
            let error = layers(texts);
            assert_eq!((with_causes(&error).as_str(), root_cause(&error).as_str()), (whole, root));
        }
    }
}
