"""Mutants of the chat on the terminal: what somebody before it would see, and no program."""

from tests.mutants.mutant import python_mutant

__all__ = ["TERMINAL_MUTANTS"]

SHOWN = ("cli/test_rendering.py",)
SCREEN = ("cli/test_chat_screen.py",)
COMMANDS = ("cli/test_chat_commands.py",)

TERMINAL_MUTANTS = (
    python_mutant("cli/rendering/keyboard.py", "    silent[3] &= ~termios.ECHO\n", "", SCREEN),
    python_mutant(
        "cli/rendering/code_block.py", "syntax.highlight(self._before + line", "syntax.highlight(line", SHOWN
    ),
    python_mutant("cli/rendering/code_block.py", "[(ControlType.CURSOR_UP, rows)] * bool(rows)", "[]", SHOWN),
    python_mutant("cli/rendering/code_block.py", "and rows < height - 1", "", SHOWN),
    python_mutant(
        "cli/rendering/word_writer.py", "if needed > self._console.width and", "if False and", SHOWN
    ),
    python_mutant("cli/rendering/keyboard.py", "signal.SIGTERM: lambda: put(before),", "", SCREEN),
    python_mutant(
        "cli/rendering/markdown_stream.py", "is not None and is_delimiter_row(line)", "is not None", SHOWN
    ),
    python_mutant("cli/chat_commands.py", "conversation.restore(before)", "pass", COMMANDS),
    # A share that nobody measured.
    python_mutant(
        "runtime/view.py", "    if status.steps:\n", "    if True:\n", ("backends/test_streaming_engine.py",)
    ),
    python_mutant(
        "runtime/loop.py", "        note_progress(status, running)\n", "", ("engine/test_loop.py",)
    ),
)
