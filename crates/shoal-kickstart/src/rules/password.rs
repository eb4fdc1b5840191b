//! Rules about root's password.
//!
//! Data only; how strong a password is, `lint::strength` says. Invariant: see the table's.

super::rules! {
    NO_ROOTPW "KS030" Breaks [whole = true]
        "The root password is missing"
        "An installation requires `rootpw`: the installer stops with an error without it."
        "Add `rootpw --iscrypted` with a hash."
        "vmaccepteula\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n"
        "vmaccepteula\nrootpw VMw4re!xq\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    PASSWORD_LENGTH "KS031" Breaks []
        "The password is too short or too long"
        "A plain-text password must have 7 to 40 ASCII characters. Quotes and escapes are removed, and an unquoted `#` ends it."
        "Use 7 to 40 characters, or a hash with `--iscrypted`."
        "rootpw aB3!x\n"
        "rootpw aB3!xyz\n";
    PASSWORD_WEAK "KS032" Breaks []
        "The password is too weak for the installer"
        "The installer requires three of four character classes (lower case, upper case, digits, others) and five different characters. A leading capital and a trailing digit do not count."
        "Use a longer password with three classes in its middle, or a hash with `--iscrypted`."
        "rootpw Vagrant1\n"
        "rootpw vA9grant\n";
    PASSWORD_GUESSABLE "KS033" Dangerous []
        "The password contains a common word or sequence"
        "The installer checks passwords against word lists and sequences and may reject this one. It is also easy to guess."
        "Choose another password, or use a hash with `--iscrypted`."
        "rootpw aB!12345678\n"
        "rootpw q7X!mzr0T\n";
    PASSWORD_NOT_ASCII "KS034" Breaks []
        "The password has a non-ASCII character"
        "The installer rejects such a password in plain text."
        "Use ASCII, or a hash with `--iscrypted`."
        "rootpw s\u{fc}\u{df}eR9!xyz\n"
        "rootpw suesseR9!xyz\n";
    HASH_FORM "KS035" Breaks []
        "The installer rejects this hash"
        "`--iscrypted` supports `$6$salt$` with 86 characters (salt up to 16, no `rounds=`), `$1$salt$` with 22, and 13 characters of DES. It does not support `$5$`, `$y$` and `$2b$`."
        "Create one with `openssl passwd -6`, without `rounds=`."
        "rootpw --iscrypted $6$rounds=10000$kCNu7FHJ2jPTEQvo$E1p.5JtSbVCYY61mKbbEYvXvNCDLgL2rNwnGJUpYXHxbmWwHyyQjL4vLrbGnNUyCbF3bqvSFTiLLMgTpnTKWv1\n"
        "rootpw --iscrypted $6$kCNu7FHJ2jPTEQvo$E1p.5JtSbVCYY61mKbbEYvXvNCDLgL2rNwnGJUpYXHxbmWwHyyQjL4vLrbGnNUyCbF3bqvSFTiLLMgTpnTKWv1\n";
    HASH_AS_PLAIN "KS036" Lost []
        "A hash without `--iscrypted`"
        "The installer uses the text of the hash as the password, or rejects it as too long."
        "Write `rootpw --iscrypted` before the hash."
        "rootpw $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n"
        "rootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n";
    ISCRYPTED_LAST "KS037" Style [warns = true]
        "`--iscrypted` follows the hash"
        "It works, but the installer shows a warning for 30 seconds."
        "Write the option first."
        "rootpw $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61 --iscrypted\n"
        "rootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n";
    PASSWORD_PLAIN "KS038" Style []
        "The password is in plain text"
        "Anyone who can read the file or its medium has the password."
        "Use a hash with `--iscrypted`, or the filter `sha512_crypt` in a template."
        "rootpw q7X!mzr0T\n"
        "rootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n";
    PASSWORD_QUOTING "KS039" Lost []
        "Quotes or backslashes are removed from the password"
        "The installer splits the line like a shell: quotes and backslashes are not part of the password."
        "Enclose the whole password in single quotes."
        "rootpw q7X\\!mzr0T\n"
        "rootpw 'q7X!mzr0T'\n";
}
