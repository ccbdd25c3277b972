"""Commands in their sections: the list that `--help` shows, most wanted first."""

from __future__ import annotations

from collections.abc import Sequence

import click


class SectionedGroup(click.Group):
    """A group whose help lists its commands by what they are for."""

    sections: tuple[tuple[str, Sequence[click.Command]], ...] = ()

    def set_sections(self, *sections: tuple[str, Sequence[click.Command]]) -> None:
        """Add commands.

        Args:
            sections: titles with their commands, both in the order of the help.
        """
        self.sections = sections
        for _, commands in sections:
            for command in commands:
                self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        names = [command.name or "" for _, commands in self.sections for command in commands]
        width = max(map(len, names))
        room = formatter.width - width - 6
        for title, commands in self.sections:
            with formatter.section(title):
                formatter.write_dl(
                    [((c.name or "").ljust(width), c.get_short_help_str(room)) for c in commands]
                )
