//! Rules about the text as a whole: encoding, quoting, placeholders, remarks to the linter.
//!
//! Data only. Invariant: see the table's.

super::rules! {
    NOT_UTF8 "KS001" Breaks [whole = true, bad_line = 2]
        "The text is not UTF-8"
        "The installer decodes the whole file, comments and scripts included, and stops with an error at a byte that is not valid UTF-8."
        "Save the file as UTF-8, or remove the character."
        "vmaccepteula\n# caf\\xff\nreboot\n"
        "vmaccepteula\n# caf\u{e9}\nreboot\n";
    NON_ASCII "KS002" Style [warns = true]
        "A command line has a non-ASCII character"
        "The installer shows a warning for 30 seconds. Comments and scripts may contain any character."
        "Use ASCII characters only."
        "keyboard \u{201c}German\u{201d}\n"
        "# T\u{fc}rkisch w\u{e4}re auch m\u{f6}glich\nkeyboard German\n";
    UNBALANCED_QUOTE "KS003" Breaks []
        "A quote or escape is not closed on its line"
        "The installer splits command lines like a shell and stops with an error at an unmatched quote. An apostrophe is a quote."
        "Close the quote, or quote the whole value."
        "network --bootproto=dhcp --device=vmnic0 --hostname='esx01\n"
        "network --bootproto=dhcp --device=vmnic0 --hostname='esx01'\n";
    CONTINUATION "KS004" Lost [warns = true]
        "The line ends with a backslash"
        "The installer does not support line continuation: it reads the next line as a separate, unknown command, and everything on it is lost."
        "Put the whole command on one line."
        "network --bootproto=dhcp --device=94:40:c9:00:00:01 \\\n  --vlanid=20\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01 --vlanid=20\n";
    TOO_MANY_COMMANDS "KS005" Breaks [whole = true, bad_line = 257]
        "The file has more than 256 commands"
        "The installer stops with an error at the 257th command."
        "Move lines that are not installer commands into a section."
        "257 lines: keyboard German\n"
        "256 lines: keyboard German\n";
    PLACEHOLDER "KS006" Breaks []
        "A placeholder is not filled in"
        "The text is a template or contains an example value, which the installer reads literally."
        "Render the template first (`shoal kickstart render`, or `templated: true` in the recipe), or write the value."
        "network --bootproto=static --device=vmnic0 --ip={{ ip }} --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    COMMENT_CUTS_WORD "KS007" Lost []
        "`#` inside a word starts a comment"
        "The installer ignores the rest of the line, even in the middle of a password. Only quotes prevent this."
        "Quote the value."
        "rootpw q7X!mzr0T#Zz\n"
        "rootpw 'q7X!mzr0T#Zz'\n";
    ALLOW_WITHOUT_REASON "KS008" Style []
        "An allow comment is incomplete"
        "`# shoal: allow` requires a rule id and a reason, and has no effect without them."
        "Write `# shoal: allow KS012 reason`."
        "# shoal: allow KS060\nnetwork --bootproto=dhcp --device=vmnic0\n"
        "# shoal: allow KS068 one port only\nnetwork --bootproto=dhcp --device=vmnic0\n";
    ALLOW_UNUSED "KS009" Style []
        "An allow comment matches no finding"
        "The rule reports nothing in this file, so the comment would hide a later mistake."
        "Remove the comment."
        "# shoal: allow KS070 the hook powers off\n"
        "# shoal: allow KS068 one port only\nnetwork --bootproto=dhcp --device=vmnic0\n";
}
