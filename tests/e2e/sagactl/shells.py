"""Real shells that complete a line: bash and zsh at a terminal, as they read from somebody who types, fish by `complete -C`.

None reads anybody's settings: HOME is an empty folder, no start file is read. Nothing waits by the clock: what a shell offers is in a
file when the shell says so at the terminal."""
import fcntl
import os
import pathlib
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
import time

SECONDS = 60
ROWS, COLUMNS = 400, 4000
# What is printed when a thing is done; put together by the shell, so that its echo is not taken for it.
DONE = b"\x02done\x03"


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, arguments, env, directory):
        self.seen = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=directory,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def type(self, text):
        """Types, and reads what the terminal shows until the shell says that it is done."""
        os.write(self.master, text.encode())
        end = time.monotonic() + SECONDS
        shown = b""
        while DONE not in shown:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"the shell does not answer {text!r}: {shown!r}")
            shown += os.read(self.master, 65536)
        self.seen += shown
        return shown.partition(DONE)[0].decode(errors="replace")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


class Shell:
    """One that completes; line(text) gives the line with all that is offered in it, complete(text) the words, without quotes."""

    def __init__(self, directory, path, settings=None):
        self.directory = pathlib.Path(directory)
        self.home = self.directory / "home"
        self.home.mkdir(exist_ok=True)
        self.out = self.home / f"{type(self).__name__.lower()}.out"
        self.env = {"HOME": str(self.home), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "OUT": str(self.out),
                    **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS") or name == "LD_PRELOAD"},
                    **(settings or {})}

    def complete(self, text):
        line = self.line(text)
        if line == text:
            return []
        before = shlex.split(text[:re.search(r"(?<!\\) (?:[^ ]|\\ )*$", text).start()])
        words = shlex.split(line)
        assert words[:len(before)] == before, line
        return words[len(before):]

    def close(self):
        pass


class Bash(Shell):
    """insert-completions puts all that is offered into the line, quoted as readline quotes."""

    setup = (r'''PS1=; PS2=; bind 'set enable-bracketed-paste off'; bind 'set completion-query-items 0'; bind 'set page-completions off'
say() { printf '\x02''done\x03'; }
look() { printf '%s' "$READLINE_LINE" >"$OUT"; READLINE_LINE=; READLINE_POINT=0; say; }
bind '"\C-x\C-a": insert-completions'; bind -x '"\C-x\C-b": look'
''')

    def __init__(self, directory, path, settings=None, load='source <(sagactl completion bash)'):
        super().__init__(directory, path, settings)
        self.terminal = Terminal(["bash", "--noprofile", "--norc", "-i"], self.env, self.directory)
        start = self.home / "start.bash"
        start.write_text(self.setup + load + "\n", encoding="utf-8")
        self.loaded = self.terminal.type(f". {start}; say\n")

    def line(self, text):
        self.shown = self.terminal.type(text + "\x18\x01\x18\x02")
        return self.out.read_text(encoding="utf-8")

    def complete(self, text):
        words = super().complete(text)
        if not words:
            return []
        # Readline leaves what stands before the last of its break characters as it is: only the first word has it.
        kept = re.match(r"(.*[:=@])?", words[0] if re.search(r"[:=@]\S*$", text) else "")[0]
        return words[:1] + [word if word.startswith(kept) else kept + word for word in words[1:]]

    def close(self):
        self.terminal.close()


class Zsh(Shell):
    """A completion that inserts all that it offers."""

    setup = r'''PS1=; PS2=; unsetopt beep prompt_cr prompt_sp
autoload -Uz compinit && compinit -u -D
say() { printf '\x02''done\x03' }
insert() { compstate[insert]=all }
look() {
    comppostfuncs=(insert)
    zle complete-word
    print -rn -- "$BUFFER" >$OUT
    BUFFER=
    say >/dev/tty
}
zle -N look; bindkey '^Xa' look
'''

    def __init__(self, directory, path, settings=None, load='source <(sagactl completion zsh)'):
        super().__init__(directory, path, settings)
        self.terminal = Terminal(["zsh", "-f", "-i"], self.env, self.directory)
        start = self.home / "start.zsh"
        start.write_text(self.setup + load + "\n", encoding="utf-8")
        self.loaded = self.terminal.type(f". {start}; say\n")

    def line(self, text):
        self.shown = self.terminal.type(text + "\x18a")
        return self.out.read_text(encoding="utf-8")

    def close(self):
        self.terminal.close()


class Fish(Shell):
    def __init__(self, directory, path, settings=None, load="sagactl completion fish | source"):
        super().__init__(directory, path, settings)
        self.load = load

    def complete(self, text):
        done = subprocess.run(["fish", "--no-config", "--private", "-c", self.load + "; complete -C $LINE"], env={**self.env, "LINE": text},
                              cwd=self.directory, capture_output=True, text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
        self.shown = done.stderr
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]


SHELLS = {"bash": Bash, "zsh": Zsh, "fish": Fish}
