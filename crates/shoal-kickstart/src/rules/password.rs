//! Rules about root's password.
//!
//! Data only; how strong a password is, `lint::strength` says. Invariant: see the table's.

super::rules! {
    NO_ROOTPW "KS030" Breaks [whole = true]
        "Root has no password"
        "`rootpw` is required for an installation: the installer stops without it."
        "Add `rootpw --iscrypted` and the hash."
        "vmaccepteula\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n"
        "vmaccepteula\nrootpw VMw4re!xq\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    PASSWORD_LENGTH "KS031" Breaks []
        "The password is too short or too long"
        "A password in plain text must have 7 to 40 ASCII characters. Quotes and escapes are removed, and a `#` ends it."
        "Use 7 to 40 characters, or a hash with `--iscrypted`."
        "rootpw aB3!x\n"
        "rootpw aB3!xyz\n";
    PASSWORD_WEAK "KS032" Breaks []
        "The password is too weak for the installer"
        "At least three of the four kinds (lower case, upper case, digits, others) are required, and five different characters. A capital in first place and a digit in last place do not count."
        "Use a longer mix, such as three kinds inside the word, or a hash with `--iscrypted`."
        "rootpw Vagrant1\n"
        "rootpw vA9grant\n";
    PASSWORD_GUESSABLE "KS033" Dangerous []
        "The password is a known word or sequence"
        "The installer compares passwords with word lists and sequences and may refuse this one; others guess it."
        "Choose another, or use a hash with `--iscrypted`."
        "rootpw aB!12345678\n"
        "rootpw q7X!mzr0T\n";
    PASSWORD_NOT_ASCII "KS034" Breaks []
        "The password has a character outside ASCII"
        "The installer refuses such a password in plain text."
        "Use ASCII, or a hash with `--iscrypted`."
        "rootpw s\u{fc}\u{df}eR9!xyz\n"
        "rootpw suesseR9!xyz\n";
    HASH_FORM "KS035" Breaks []
        "The hash has a form that the installer refuses"
        "With `--iscrypted` it accepts `$6$salt$` with 86 characters (salt up to 16, no `rounds=`), `$1$salt$` with 22, and 13 characters of DES. `$5$`, `$y$` and `$2b$` are refused."
        "Make one with `openssl passwd -6`, without rounds."
        "rootpw --iscrypted $6$rounds=10000$kCNu7FHJ2jPTEQvo$E1p.5JtSbVCYY61mKbbEYvXvNCDLgL2rNwnGJUpYXHxbmWwHyyQjL4vLrbGnNUyCbF3bqvSFTiLLMgTpnTKWv1\n"
        "rootpw --iscrypted $6$kCNu7FHJ2jPTEQvo$E1p.5JtSbVCYY61mKbbEYvXvNCDLgL2rNwnGJUpYXHxbmWwHyyQjL4vLrbGnNUyCbF3bqvSFTiLLMgTpnTKWv1\n";
    HASH_AS_PLAIN "KS036" Lost []
        "A hash stands without `--iscrypted`"
        "The text of the hash itself becomes the password; a long one is refused."
        "Write `rootpw --iscrypted` before the hash."
        "rootpw $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n"
        "rootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n";
    ISCRYPTED_LAST "KS037" Style [warns = true]
        "`--iscrypted` stands behind the hash"
        "It works, and costs a warning of 30 seconds."
        "Write the option first."
        "rootpw $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61 --iscrypted\n"
        "rootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n";
    PASSWORD_PLAIN "KS038" Style []
        "The password stands in plain text"
        "Whoever reads the file or its medium has the password."
        "Use a hash with `--iscrypted`, or the filter `sha512_crypt` in a template."
        "rootpw q7X!mzr0T\n"
        "rootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n";
    PASSWORD_QUOTING "KS039" Lost []
        "Quotes or backslashes are removed from the password"
        "The installer splits the line like a shell: what quotes and escapes is not part of the password."
        "Put the whole password into single quotes."
        "rootpw q7X\\!mzr0T\n"
        "rootpw 'q7X!mzr0T'\n";
}
