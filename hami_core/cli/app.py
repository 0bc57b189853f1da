"""The root command, and the one place where an exception becomes a line and an exit status."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hami_core import __version__, names
from hami_core.cli.output import no_colour_wanted
from hami_core.cli.session import DEBUG, Session
from hami_core.errors import HamiError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence


MACHINE = "Run on a simulated machine instead of this one."


class Commands(click.Group):
    """A group whose members come from the core and, by hook, from plugins. Plugins are loaded when somebody looks."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The core's own in the order of a day's work, then the plugins'."""
        return [*self.commands, *sorted(set(self._brought(ctx)) - set(self.commands))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The core's own first: no plugin can take a name that is ours, and ours need no plugin to be found."""
        command = self.commands.get(cmd_name) or self._brought(ctx).get(cmd_name)
        if command is not None:
            _take_machine(command)
        return command

    def invoke(self, ctx: click.Context) -> int:
        """Run the command; what went wrong becomes one line and an exit status."""
        try:
            status = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own ways out
        except Exception as error:  # one of ours, or a fault in hami
            return fail(error, debug=ctx.meta.get(DEBUG, False))
        return status if isinstance(status, int) else 0

    def _brought(self, ctx: click.Context) -> dict[str, click.Command]:
        answers = session(ctx).plugins.ask_each("hami_commands").by_plugin
        return {str(command.name): command for answer in answers.values() for command in answer}


def session(ctx: click.Context) -> Session:
    """What this invocation knows. Made by the root command; for ``--help``, which comes before it, from defaults."""
    root = ctx.find_root()
    if root.obj is None:
        root.obj = Session()
    found: Session = root.obj
    return found


def _choose(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
    if name is not None:
        session(ctx).choose(name)


def _take_machine(command: click.Command) -> None:
    """Let it take --machine too, and all its sub-commands: people write it where they think of it."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _take_machine(below)
    elif all(param.name != "machine" for param in command.params):
        command.params.append(
            click.Option(["--machine"], metavar="NAME|FILE", callback=_choose, expose_value=False, help=MACHINE)
        )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=False)
@click.version_option(__version__, prog_name="hami")
@click.option("--machine", metavar="NAME|FILE", envvar=names.ENV_MACHINE, help=MACHINE)
@click.option(
    "--config",
    metavar="FILE",
    envvar=names.ENV_CONFIG,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings, YAML in the chart's shape.",
)
@click.option("--set", "sets", metavar="PATH=VALUE", multiple=True, help="One setting; may be repeated.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def hami(ctx: click.Context, machine: str | None, config: Path | None, sets: tuple[str, ...], debug: bool) -> None:
    """Accelerators cut into shares, handed to workloads, and enforced inside the workload."""
    ctx.obj = Session(machine, config, sets)
    ctx.meta[DEBUG] = debug
    if no_colour_wanted(os.environ):
        ctx.color = False


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status. No traceback comes out of it unless --debug asks for one."""
    try:
        status = hami.main(args=list(arguments), prog_name="hami", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130  # as a shell reports SIGINT
    except OSError as error:
        return fail(error)  # of help, which click writes before there is a command
    return status if isinstance(status, int) else 0


def fail(error: Exception, debug: bool = False) -> int:
    """Say what went wrong in one line, and which exit status goes with it."""
    if _is_of_output(error):
        _discard_output()
    if debug:
        import traceback

        traceback.print_exception(error)
    click.echo(f"hami: {_sentence(error)}", err=True)
    return 2 if isinstance(error, UserError) else 1


def _is_of_output(error: Exception) -> bool:
    """Whether standard output takes nothing more: the errors of files name theirs."""
    return isinstance(error, OSError) and error.filename is None and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def _discard_output() -> None:
    """What is left in Python's buffer would fail once more at its end, with a traceback and a status of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _sentence(error: Exception) -> str:
    if isinstance(error, HamiError):
        return str(error)
    if isinstance(error, OSError) and _is_of_output(error):
        return f"standard output: {error.strerror}"
    return f"a fault in hami itself: {type(error).__name__}: {error} (--debug before the command shows where)"


def _register() -> None:
    from hami_core.cli import config, devices, health, logs, node, play, plugins, ps, run, stop, topology, wait

    working = (play.play, run.run, ps.ps, logs.logs, wait.wait, stop.stop)
    for command in (*working, devices.devices, topology.topology, health.health, plugins.plugins, config.config, node.node):
        hami.add_command(command)


_register()
