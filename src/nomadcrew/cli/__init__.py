"""The `nomadcrew` command."""

import sys

import click

from nomadcrew import __version__
from nomadcrew.cli.context import unusable
from nomadcrew.cli.data import backup, migrate, restore
from nomadcrew.cli.demo import demo
from nomadcrew.cli.feedback import feedback
from nomadcrew.cli.inspect import doctor, openapi, routes
from nomadcrew.cli.jobs import jobs
from nomadcrew.cli.keys import keys
from nomadcrew.cli.queue import queue
from nomadcrew.cli.trip import trip
from nomadcrew.cli.up import up
from nomadcrew.cli.user import user
from nomadcrew.cli.watch import watch
from nomadcrew.core.errors import BadSetting, DomainError
from nomadcrew.hosts.machine.errors import StartupError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nomadcrew")
def nomadcrew() -> None:
    """One backend for people travelling together.

    \b
    Examples:
      nomadcrew up                          serve on http://127.0.0.1:8080
      PORT=9000 nomadcrew up                serve on another port
      nomadcrew demo                        create five users and three trips on a running server
      nomadcrew demo --live --speed 20      walk a crew through Porto
      nomadcrew watch 019a3f… --user ana    watch a trip from another terminal
      nomadcrew user create ana@example.org
      nomadcrew backup ~/nomadcrew.tar

    Settings are environment variables; docs/operating.md lists them.
    """


for command in (
    up,
    demo,
    watch,
    doctor,
    migrate,
    routes,
    openapi,
    user,
    trip,
    feedback,
    keys,
    queue,
    jobs,
    backup,
    restore,
):
    nomadcrew.add_command(command)


def main() -> None:
    """Run the command; an expected error is one sentence on standard error and exit code 1."""
    try:
        nomadcrew(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (StartupError, BadSetting) as error:
        _refuse(str(error))
    except DomainError as error:
        _refuse(error.text)
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(unusable(error))


def _refuse(sentence: str) -> None:
    click.echo(f"nomadcrew: {sentence}", err=True)
    sys.exit(1)
