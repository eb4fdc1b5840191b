//! How scripts are split, and that any text is.
//!
//! What commands do is tested beside it, in `files.rs` and `status.rs`.

use super::*;

/// One string a command: its words between slashes, behind `|` where it is a fallback.
fn check(script: &str, expected: &[&str]) {
    let shown = |command: ShellCommand| {
        let fallback = if command.after_failure { "|" } else { "" };
        format!("{fallback}{}", command.words.join("/"))
    };
    assert_eq!(commands(script).into_iter().map(shown).collect::<Vec<_>>(), expected, "{script}");
}

#[test]
fn commands_end_where_a_shell_ends_them() {
    check("sync; a && b & c | d\ne", &["sync", "a", "b", "c", "d", "e"]);
    check("a -n || b -f || c", &["a/-n", "|b/-f", "|c"]);
    check("(sleep 5; halt) &", &["sleep/5", "halt"]);
    check("if a; then b; else exec c; fi", &["a", "b", "c", "fi"]);
    check("a \\\n  b # c; d\n#e\nf#g", &["a/b", "f#g"]);
}

#[test]
fn redirections_and_here_documents_are_no_commands() {
    check("a >/dev/null 2>&1 b < c > d", &["a/b"]);
    check("cat > /x <<'END'\npoweroff\nEND\nsync", &["cat", "sync"]);
    check("cat <<-END\npoweroff\n\tEND\nsync", &["cat", "sync"]);
    check("cat <<END\npoweroff", &["cat"]);
}

#[test]
fn quotes_hold_words_together_and_variables_are_filled_in() {
    check("url='http://a/b c'\nwget \"$url\" '$url' ${url}x", &["wget/http://a/b c/$url/http://a/b cx"]);
    check("python -c 'a; b | c # d' \"say \\\"$x\\\"\"", &["python/-c/a; b | c # d/say \"\""]);
    check("for f in /v/*/N.TXT; do cat \"$f\"; done", &["cat//v/*/N.TXT", "done"]);
    check("A=1; B=$A\nC=x run $B $", &["run/1/$"]);
    check("a $1$6x ${none} ${none:-b} ${none-$none}c", &["a/x//b/c"]);
}

#[test]
fn what_a_command_prints_is_not_known_and_that_it_runs_is() {
    let unknown = UNKNOWN;
    check("X=$(wget u | sed s/a/b/); run $X", &["wget/u", "sed/s/a/b/", &format!("run/{unknown}")]);
    check("run `wget u`x \"$(a b)\"", &["wget/u", "a/b", &format!("run/{unknown}x/{unknown}")]);
    check("run $((1 + 2)) $? ${x%y}", &[&format!("run/{unknown}/{unknown}/{unknown}")]);
}

#[test]
fn any_text_gives_an_answer() {
    for script in [
        "'", "\"\\", "$", "${", "$(", "`", "$((", "<<", ">", "a <<E", "||", "=", "for x in", "\\", ")", "fi",
        "(",
    ] {
        commands(script);
    }
    commands(&"$(".repeat(10_000));
    commands(&"${a:-".repeat(10_000));
    let doubling = "a=xxxxxxxxxxxxxxxx\n".to_owned() + &"a=$a$a\n".repeat(100) + "run $a";
    assert!(commands(&doubling)[0].words[1].len() <= WORD_BYTES_MAX);
}
