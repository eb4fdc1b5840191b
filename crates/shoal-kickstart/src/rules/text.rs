//! Rules about the text as a whole: encoding, quoting, placeholders, remarks to the linter.
//!
//! Data only. Invariant: see the table's.

super::rules! {
    NOT_UTF8 "KS001" Breaks [whole = true, bad_line = 2]
        "The text is not UTF-8"
        "The installer decodes the whole file, scripts and comments included, and stops at a byte that it cannot decode."
        "Save the file as UTF-8, or remove the character."
        "vmaccepteula\n# caf\\xff\nreboot\n"
        "vmaccepteula\n# caf\u{e9}\nreboot\n";
    NON_ASCII "KS002" Style [warns = true]
        "A command line has a character outside ASCII"
        "The installer shows a warning for 30 seconds. Comments and scripts may hold any character."
        "Write the line in ASCII."
        "keyboard \u{201c}German\u{201d}\n"
        "# T\u{fc}rkisch w\u{e4}re auch m\u{f6}glich\nkeyboard German\n";
    UNBALANCED_QUOTE "KS003" Breaks []
        "A quote or escape does not end on its line"
        "The installer splits command lines like a shell and stops at a quote without its counterpart. An apostrophe counts as a quote."
        "Close the quote, or quote the whole value."
        "network --bootproto=dhcp --device=vmnic0 --hostname='esx01\n"
        "network --bootproto=dhcp --device=vmnic0 --hostname='esx01'\n";
    CONTINUATION "KS004" Lost [warns = true]
        "A line ends with a backslash"
        "The installer knows no continuation: the next line is read as a command of its own, which is unknown, so all that stands there is lost."
        "Put the whole command on one line."
        "network --bootproto=dhcp --device=94:40:c9:00:00:01 \\\n  --vlanid=20\n"
        "network --bootproto=dhcp --device=94:40:c9:00:00:01 --vlanid=20\n";
    TOO_MANY_COMMANDS "KS005" Breaks [whole = true, bad_line = 257]
        "There are more than 256 commands"
        "The installer stops at the 257th command."
        "Move what is not the installer's into a section."
        "257 lines: keyboard German\n"
        "256 lines: keyboard German\n";
    PLACEHOLDER "KS006" Breaks []
        "A placeholder was not filled in"
        "The text is a template, or a value of an example: the installer takes it literally."
        "Render the template first (`shoal kickstart render`, or `templated: true` in the recipe), or write the value."
        "network --bootproto=static --device=vmnic0 --ip={{ ip }} --netmask=255.255.255.0\n"
        "network --bootproto=static --device=vmnic0 --ip=10.0.0.11 --netmask=255.255.255.0\n";
    COMMENT_CUTS_WORD "KS007" Lost []
        "A `#` inside a word begins a comment"
        "The rest of the line is lost, also in the middle of a password. Only quotes prevent it."
        "Quote the value."
        "rootpw q7X!mzr0T#Zz\n"
        "rootpw 'q7X!mzr0T#Zz'\n";
    ALLOW_WITHOUT_REASON "KS008" Style []
        "A remark that allows a rule is incomplete"
        "`# shoal: allow` needs the id of a rule and a reason, and has no effect without them."
        "Write `# shoal: allow KS012 reason`."
        "# shoal: allow KS060\nnetwork --bootproto=dhcp --device=vmnic0\n"
        "# shoal: allow KS068 one port only\nnetwork --bootproto=dhcp --device=vmnic0\n";
    ALLOW_UNUSED "KS009" Style []
        "A remark allows what is not found"
        "The rule finds nothing here, so the remark hides a later mistake."
        "Remove the remark."
        "# shoal: allow KS070 the hook powers off\n"
        "# shoal: allow KS068 one port only\nnetwork --bootproto=dhcp --device=vmnic0\n";
}
