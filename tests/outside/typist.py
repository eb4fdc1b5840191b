"""A command on a terminal of its own, to which the answer is typed once it has asked: typist.py ANSWER COMMAND.

A question is a line that is not ended. What is typed before it would be lost, however long one waits.
"""
import os
import pty
import sys


def main(answer, command):
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("bash", ["bash", "-c", command])
    shown, is_typed = b"", False
    # Reading fails once the command has closed the terminal.
    while piece := read(terminal):
        os.write(1, piece)
        shown += piece
        if not is_typed and shown.rstrip(b" ").endswith((b":", b"?", b"]")):
            os.write(terminal, answer.encode() + b"\n")
            is_typed = True
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


if __name__ == "__main__":
    main(*sys.argv[1:])
