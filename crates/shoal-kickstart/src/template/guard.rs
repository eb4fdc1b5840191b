//! Names are bound to simple expressions: a value that grows with each binding would grow beyond any
//! memory.
//!
//! Not a parser: it looks at the statements that bind names, strings left out. Invariant: an
//! expression that it lets pass is at most as large as the variables and literals it is made of.

use super::TemplateError;

const BINDING: [&str; 3] = ["set", "with", "for"];
/// Statements that define code or capture output.
const REFUSED: [&str; 8] = ["macro", "call", "filter", "include", "import", "extends", "block", "autoescape"];

pub fn check_bindings(template: &str) -> Result<(), TemplateError> {
    let mut at = 0;
    while let Some(start) = template[at..].find("{%").map(|start| at + start) {
        let inside = start + 2;
        let end = template[inside..].find("%}").map_or(template.len(), |end| inside + end);
        let statement = template[inside..end].trim_matches(['-', '+']).trim();
        let (word, expression) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
        if REFUSED.contains(&word) {
            let message = format!("`{word}` is not supported in templates of kickstarts");
            return Err(TemplateError::at(template, start, message));
        }
        if word == "set" && !without_strings(expression).contains('=') {
            let message = "`set` needs `=` and an expression";
            return Err(TemplateError::at(template, start, message));
        }
        if BINDING.contains(&word) && grows(expression) {
            let message = format!(
                "`{word}` takes a name, a literal or a filtered value: combine values where they are used"
            );
            return Err(TemplateError::at(template, start, message));
        }
        at = end;
    }
    Ok(())
}

/// Whether the expression may be larger than its parts, or hold one of them twice.
fn grows(expression: &str) -> bool {
    let bare = without_strings(expression);
    let operators = bare.contains(['~', '+', '*']);
    let is_range = bare.contains("range(") && !bare.contains('[');
    let brackets = bare.contains(['[', '{']);
    let inside = bare.split(['[', '{']).skip(1).any(|part| {
        let part = part.split([']', '}']).next().unwrap_or_default();
        part.contains(|c: char| c.is_ascii_alphabetic() || c == '_')
    });
    operators && !is_range || (brackets && inside)
}

/// The expression without the insides of its strings.
fn without_strings(expression: &str) -> String {
    let (mut bare, mut quote, mut escaped) = (String::new(), None, false);
    for c in expression.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => bare.push(c),
        }
    }
    bare
}
